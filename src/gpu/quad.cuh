// Four lanes that share a row of an accumulator.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace seesaw::gpu {

// Four lanes hold, for four groups of eight columns each, one pair of elements of every group.
// Afterwards lane q holds all of group q: 16 contiguous bytes.
__device__ __forceinline__ void transpose_quad(uint32_t (&v)[4], int lane) {
#pragma unroll
  for (int bit = 1; bit <= 2; bit *= 2) {
    const bool upper = lane & bit;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (i & bit) continue;
      const uint32_t send = upper ? v[i] : v[i | bit];
      const uint32_t got = __shfl_xor_sync(~0u, send, bit);
      if (upper) {
        v[i] = got;
      } else {
        v[i | bit] = got;
      }
    }
  }
}

}  // namespace seesaw::gpu
