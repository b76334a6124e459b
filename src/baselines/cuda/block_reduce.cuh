// Sum and maximum over the threads of a row, in a fixed order.
#pragma once

namespace seesaw::baselines {

struct Sum {
  static constexpr float kNeutral = 0.0F;
  __device__ static float of(float a, float b) { return a + b; }
};

// Ignores NaN.
struct Maximum {
  static constexpr float kNeutral = -__builtin_huge_valf();
  __device__ static float of(float a, float b) { return fmaxf(a, b); }
};

template <typename Operation>
__device__ float reduce_warp(float value) {
  for (int distance = 16; distance > 0; distance /= 2) {
    value = Operation::of(value, __shfl_xor_sync(0xFFFFFFFFu, value, distance));
  }
  return value;
}

// Over the threads of one threadIdx.y. Sync: all threads call it; whole warps, at most 1024
// threads, and if there is more than one threadIdx.y a warp each. Every thread gets the result.
template <typename Operation>
__device__ float reduce_block(float value) {
  __shared__ float of_warps[32];
  const unsigned lane = threadIdx.x % 32;
  value = reduce_warp<Operation>(value);
  if (blockDim.x == 32) {
    return value;
  }
  __syncthreads();  // the previous reduction's readers are done
  if (lane == 0) {
    of_warps[threadIdx.x / 32] = value;
  }
  __syncthreads();
  return reduce_warp<Operation>(lane < blockDim.x / 32 ? of_warps[lane] : Operation::kNeutral);
}

}  // namespace seesaw::baselines
