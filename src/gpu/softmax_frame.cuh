// Frames of an online softmax: running maxima that are allowed to lag. See online_softmax.cuh.
#pragma once

#include <cuda_runtime.h>

#include "gpu/partials.hpp"

namespace seesaw::gpu {

inline constexpr float kFrameSlack = 8.0F;

// The frame to use from now on. A NaN or an empty row (-inf) leaves it as it is.
__device__ __forceinline__ float next_frame(float frame, float tile_max_log2) {
  return tile_max_log2 - frame > kFrameSlack ? tile_max_log2 : frame;
}

// s * scale_log2 - frame is computed with one rounding, while the frame is a product that was
// rounded. Up to here that moves all of a row's probabilities alike, by 2^64 at most. Beyond, they
// overflow or vanish: rows with such a frame are computed anew.
inline constexpr float kLargestFrame = 0x1p30F;

// Sum over the four lanes that share a row.
__device__ __forceinline__ float quad_sum(float x) {
  x += __shfl_xor_sync(~0u, x, 1);
  return x + __shfl_xor_sync(~0u, x, 2);
}

}  // namespace seesaw::gpu
