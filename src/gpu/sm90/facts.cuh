// What the consumer warpgroups of a seesaw tell each other.
#pragma once

#include "gpu/ptx/named_barrier.cuh"
#include "gpu/sm90/tile.hpp"

namespace seesaw::gpu::sm90 {

// Named barriers: each name is the fact that becomes true when it opens. The kernels' READMEs have
// tables of who arrives, who waits and which reuse each protects. Number 0 is __syncthreads.
enum NamedBarrier : int {
  kFrame0Ready = 1,  // frame and scale0 hold tile 0's; left has finished with P1 of the last pair
  kFrame1Ready,      // frame and scale1 hold tile 1's; right has finished with P0 of the last pair
  kP0Stored,         // P0 is in shared memory, tile 0's values are clean
  kP1Stored,         // P1 is in shared memory, tile 1's values are clean, right's products issued
  kSumsReady,        // both halves of the row sums are in shared memory
  kLeftScrub,        // warpgroup left only: scores of the tile are done, or its values are clean
  kRightScrub,       // the same of warpgroup right
  kBarriersReady,    // the mbarriers are initialised
  kNamedBarrierCount
};
static_assert(kNamedBarrierCount <= 16, "PTX ISA, bar: 16 named barriers a thread block");

// One consumer warpgroup states a fact that the other waits for.
__device__ __forceinline__ void state_fact(NamedBarrier fact) {
  ptx::barrier_arrive(fact, kConsumerThreads);
}
__device__ __forceinline__ void wait_for_fact(NamedBarrier fact) {
  ptx::barrier_sync(fact, kConsumerThreads);
}

}  // namespace seesaw::gpu::sm90
