// Sums over the threads of a block, in a fixed order.
#pragma once

#include <cstdint>

namespace seesaw::gpu {

// Exclusive prefix sum and total over a block of kThreads threads. Sync: all threads call it; the
// shared memory may be reused right after.
template <int kThreads>
class BlockScan {
 public:
  static_assert(kThreads % 32 == 0 && kThreads <= 1024, "whole warps, at most one warp of them");

  struct Result {
    int64_t before;  // sum over the threads of lower index
    int64_t total;   // over all threads
  };

  __device__ static Result exclusive_sum(int64_t value) {
    __shared__ int64_t warp_sums[kWarps];
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int warp = static_cast<int>(threadIdx.x) / 32;
    const int64_t through = inclusive_in_warp(value, lane);
    if (lane == 31) {
      warp_sums[warp] = through;
    }
    __syncthreads();
    const int64_t mine = lane < kWarps ? warp_sums[lane] : 0;
    const int64_t warps_through = inclusive_in_warp(mine, lane);
    const int64_t warps_before = __shfl_sync(kAll, warps_through - mine, warp);
    const int64_t total = __shfl_sync(kAll, warps_through, kWarps - 1);
    __syncthreads();
    return {warps_before + through - value, total};
  }

 private:
  static constexpr int kWarps = kThreads / 32;
  static constexpr unsigned kAll = 0xFFFFFFFFu;

  __device__ static int64_t inclusive_in_warp(int64_t value, int lane) {
    for (int step = 1; step < 32; step *= 2) {
      const int64_t other = __shfl_up_sync(kAll, value, step);
      value += lane >= step ? other : 0;
    }
    return value;
  }
};

}  // namespace seesaw::gpu
