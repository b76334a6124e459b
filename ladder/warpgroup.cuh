// What a warpgroup (four warps, 128 threads) does in rungs 9 and 10: products by WGMMA on 64 query
// rows x 64 tokens, and the softmax on the accumulators that they leave.
//
// Accumulators of a 64 x N product: a thread holds two rows, `lane / 4` (r = 0) and + 8 (r = 1) of
// its warp's 16, and of each 8 columns n the two at 2 (lane % 4): d[4n + 2r], d[4n + 2r + 1].
// The same registers, rounded and packed, are an A operand: no shuffle between the two products.
#pragma once

#include "gpu/ptx.cuh"
#include "ladder/arithmetic.hpp"
#include "ladder/swizzle.hpp"

namespace seesaw::ladder {

using WgmmaScores = ptx::Wgmma<__nv_bfloat16, 64>;   // [64 rows x 64 tokens]
using WgmmaValues = ptx::Wgmma<__nv_bfloat16, 256>;  // [64 rows x 256 columns]

inline constexpr int kWarpgroupThreads = 128;
inline constexpr int kSteps = 4;                         // k steps of 16 in a tile of 64
inline constexpr uint32_t kTileUnits = kTileBytes / 16;  // a tile, in a descriptor's units

// Where a thread stands in its warpgroup.
struct GroupPlace {
  int lane;
  int first_row;  // of its warp's 16

  __device__ int row(int r) const { return first_row + lane / 4 + 8 * r; }
};

__device__ __forceinline__ GroupPlace group_place() {
  const int thread = static_cast<int>(threadIdx.x) % kWarpgroupThreads;
  return {thread % 32, thread / 32 * 16};
}

// scores (+)= Q' K'^T over column tiles [kBegin, kEnd); the first product overwrites if kFresh.
template <int kBegin, int kEnd, bool kFresh>
__device__ __forceinline__ void issue_scores(float (&scores)[32], uint32_t q, uint32_t k) {
#pragma unroll
  for (int step = kBegin * kSteps; step < kEnd * kSteps; ++step) {
    const uint32_t at = static_cast<uint32_t>(step / kSteps) * kTileUnits +
                        static_cast<uint32_t>(step % kSteps) * ptx::kStepKMajor;
    WgmmaScores::ss(scores, q + at, k + at, !kFresh || step > kBegin * kSteps);
  }
}

// out += P V' over the tile's 64 tokens, for four column tiles; P from shared memory.
__device__ __forceinline__ void issue_values(float (&out)[128], uint32_t p, uint32_t v) {
#pragma unroll
  for (uint32_t step = 0; step < kSteps; ++step) {
    WgmmaValues::ss(out, p + step * ptx::kStepKMajor, v + step * ptx::kStepMnMajor, true);
  }
}

// The same with P from registers.
__device__ __forceinline__ void issue_values(float (&out)[128], const uint32_t (&p)[16],
                                             uint32_t v) {
#pragma unroll
  for (uint32_t step = 0; step < kSteps; ++step) {
    WgmmaValues::rs(out, p + 4 * step, v + step * ptx::kStepMnMajor, true);
  }
}

// Scales the scores of row r, hides tokens from `count` on; returns the row's maximum, in all four
// lanes that share the row.
__device__ __forceinline__ float scale_and_maximum(float (&scores)[32], int r, int lane, int count,
                                                   float scale_log2) {
  float maximum = kNoMaximum;
#pragma unroll
  for (int n = 0; n < 8; ++n) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      float& score = scores[4 * n + 2 * r + e];
      score = n * 8 + lane % 4 * 2 + e < count ? score * scale_log2 : kNoMaximum;
      maximum = fmaxf(maximum, score);
    }
  }
  maximum = fmaxf(maximum, __shfl_xor_sync(~0U, maximum, 1));
  return fmaxf(maximum, __shfl_xor_sync(~0U, maximum, 2));
}

// Scores of row r become probabilities relative to `maximum`; returns this thread's part of their
// sum.
__device__ __forceinline__ float exponentiate(float (&scores)[32], int r, float maximum) {
  float sum = 0.0F;
#pragma unroll
  for (int n = 0; n < 8; ++n) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      float& score = scores[4 * n + 2 * r + e];
      score = ptx::exp2_approx(score - maximum);
      sum += score;
    }
  }
  return sum;
}

// Probabilities times a factor per row, rounded to bfloat16: an A operand.
__device__ __forceinline__ void pack_probabilities(const float (&scores)[32], float factor0,
                                                   float factor1, uint32_t (&p)[16]) {
#pragma unroll
  for (int n = 0; n < 8; ++n) {
    p[2 * n] = ptx::pack<__nv_bfloat16>(scores[4 * n] * factor0, scores[4 * n + 1] * factor0);
    p[2 * n + 1] =
        ptx::pack<__nv_bfloat16>(scores[4 * n + 2] * factor1, scores[4 * n + 3] * factor1);
  }
}

// Writes the operand to a swizzled tile, and makes it visible to WGMMA; a barrier has to follow.
__device__ __forceinline__ void store_probabilities(unsigned char* tile, const GroupPlace& place,
                                                    const uint32_t (&p)[16]) {
#pragma unroll
  for (int n = 0; n < 8; ++n) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int offset = swizzled_offset(place.row(r), n * 8 + place.lane % 4 * 2);
      *reinterpret_cast<uint32_t*>(tile + offset) = p[2 * n + r];
    }
  }
  ptx::fence_async_proxy();
}

__device__ __forceinline__ void scale_out(float (&out)[128], float factor0, float factor1) {
#pragma unroll
  for (int i = 0; i < 128; i += 4) {
    out[i] *= factor0;
    out[i + 1] *= factor0;
    out[i + 2] *= factor1;
    out[i + 3] *= factor1;
  }
}

__device__ __forceinline__ float sum_of_quad(float x) {
  x += __shfl_xor_sync(~0U, x, 1);
  return x + __shfl_xor_sync(~0U, x, 2);
}

// Divides by the sums of the thread's two rows and writes 256 columns of the rows below `count`.
// `result`: the first row's first column.
__device__ __forceinline__ void write_out(const float (&out)[128], const GroupPlace& place,
                                          const float (&sums)[2], int count, Bf16* result) {
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int row = place.row(r);
    if (row < count) {
      const float reciprocal = 1.0F / sums[r];
      Bf16* line = result + row * kValueColumns + place.lane % 4 * 2;
#pragma unroll
      for (int n = 0; n < 32; ++n) {
        *reinterpret_cast<uint32_t*>(line + n * 8) = ptx::pack<__nv_bfloat16>(
            out[4 * n + 2 * r] * reciprocal, out[4 * n + 2 * r + 1] * reciprocal);
      }
    }
  }
}

}  // namespace seesaw::ladder
