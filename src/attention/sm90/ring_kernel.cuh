// The kernel with a ring: set up, then a switch over roles. The loader begins before anybody else
// knows what there is to do.
#pragma once

#include "attention/device/foreign_schedule.cuh"
#include "attention/sm90/box_loader.cuh"
#include "attention/sm90/swapped_consumer.cuh"
#include "gpu/ptx/grid_dependency.cuh"

namespace seesaw::attention::sm90 {

// The mbarriers are initialised, and the consumers' work is described. (At the end of a piece the
// same barrier says something else.)
inline constexpr NamedBarrier kRingReady = kSumsReady;

template <typename Config>
__device__ __forceinline__ void run_box_loader(const RingParams& params,
                                               const SharedAddresses<Config>& shared, int lane) {
  if (lane == 0) {
    init_barriers(shared);
    ptx::prefetch_tensor_map(&params.kv_map);
    if constexpr (Config::kHasRotaryBox) ptx::prefetch_tensor_map(&params.kv_rotary_map);
  }
  ptx::barrier_arrive(kRingReady, Config::kThreads);
  ptx::wait_for_previous_grid();
  const BlockWork work = block_work(params);
  ptx::release_next_grid();
  if (lane == 0) BoxLoader<Config>{params, shared, work}.run();
  __syncwarp();
  if (__builtin_expect(work.foreign, 0)) refuse_schedule<Config>(params);
}

template <typename Config>
__device__ __forceinline__ void run_swapped_consumers(const RingParams& params,
                                                      const SharedAddresses<Config>& shared,
                                                      SharedStorage<Config>& storage,
                                                      ConsumerThread thread, Side side) {
  ptx::wait_for_previous_grid();
  if (threadIdx.x == 0) {
    storage.tiles.work = block_work(params);
    storage.pieces.not_finite[0][0] = storage.pieces.not_finite[0][1] = 0;
    storage.pieces.not_finite[1][0] = storage.pieces.not_finite[1][1] = 0;
  }
  ptx::barrier_sync(kRingReady, Config::kThreads);
  ptx::release_next_grid();
  gpu::mark<Config>(0, gpu::Mark::kGo);
  if (__builtin_expect(storage.tiles.work.foreign, 0)) refuse_schedule<Config>(params);
  SwappedConsumer<Config>(params, shared, storage, thread).run(side);
  gpu::mark<Config>(0, gpu::Mark::kLeft);
}

template <typename Config>
__global__ void __launch_bounds__(Config::kThreads, 1)
    ring_attention_kernel(const __grid_constant__ RingParams params) {
  static_assert(kSharedBytes<Config> <= 227 * 1024);
  auto& storage = *reinterpret_cast<SharedStorage<Config>*>(ptx::dynamic_shared());
  const SharedAddresses<Config> shared(storage);
  const int warp = __shfl_sync(~0u, static_cast<int>(threadIdx.x) / 32, 0);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  gpu::mark<Config>(0, gpu::Mark::kEntered);
  if (warp == kConsumerThreads / 32) {
    run_box_loader(params, shared, lane);
  } else {
    run_swapped_consumers(params, shared, storage, {warp % 4, lane}, static_cast<Side>(warp / 4));
  }
}

}  // namespace seesaw::attention::sm90
