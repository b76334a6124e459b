// Online softmax on a 64 x 64 wgmma score fragment. A thread holds two rows of its warp's sixteen,
// r = 0: lane / 4 and r = 1: lane / 4 + 8, and of each the columns 8n + 2q + {0, 1}, n = 0..7,
// q = lane % 4: score s[4n + 2r + {0, 1}]. The matching 16-bit A fragment has p[2n + r].
//
// Probabilities are 2^(score * scale_log2 - frame). The frame is a running maximum that is allowed
// to lag: it moves only when a row's maximum has grown by more than kFrameSlack (powers of two), so
// the output, which would have to be multiplied by 2^(old - new), is left alone for most tiles.
// Nothing is approximated: probabilities, sum and output are in one frame, up to 2^8 larger than
// with the true maximum, which costs no relative precision in floating point.
#pragma once

#include "gpu/partials.hpp"
#include "gpu/ptx/arithmetic.cuh"
#include "gpu/softmax_frame.cuh"

namespace seesaw::gpu {

// Largest score of row r in the tile, over the four lanes that share the row. NaN is passed over
// here; it reaches the result through its probability.
__device__ __forceinline__ float row_max(const float (&s)[32], int r) {
  float m[8];
#pragma unroll
  for (int n = 0; n < 8; ++n) {
    m[n] = fmaxf(s[4 * n + 2 * r], s[4 * n + 2 * r + 1]);
  }
  float all = fmaxf(fmaxf(fmaxf(m[0], m[1]), fmaxf(m[2], m[3])),
                    fmaxf(fmaxf(m[4], m[5]), fmaxf(m[6], m[7])));
  all = fmaxf(all, __shfl_xor_sync(~0u, all, 1));
  return fmaxf(all, __shfl_xor_sync(~0u, all, 2));
}

// s becomes the probabilities of row r in `frame`, p their 16-bit copies; returns this thread's
// part of their sum.
template <typename T>
__device__ __forceinline__ float row_probabilities(float (&s)[32], uint32_t (&p)[16], int r,
                                                   float scale_log2, float frame) {
  float sum = 0.0F;
#pragma unroll
  for (int n = 0; n < 8; ++n) {
    const float a = ptx::exp2_approx(fmaf(s[4 * n + 2 * r], scale_log2, -frame));
    const float b = ptx::exp2_approx(fmaf(s[4 * n + 2 * r + 1], scale_log2, -frame));
    s[4 * n + 2 * r] = a;
    s[4 * n + 2 * r + 1] = b;
    p[2 * n + r] = ptx::pack<T>(a, b);
    sum += a + b;
  }
  return sum;
}

// Probabilities moved to another frame: p = s * factor.
template <typename T>
__device__ __forceinline__ void repack(const float (&s)[32], uint32_t (&p)[16], float factor0,
                                       float factor1) {
#pragma unroll
  for (int n = 0; n < 8; ++n) {
    p[2 * n] = ptx::pack<T>(s[4 * n] * factor0, s[4 * n + 1] * factor0);
    p[2 * n + 1] = ptx::pack<T>(s[4 * n + 2] * factor1, s[4 * n + 3] * factor1);
  }
}

// Scores of tokens that a row does not see become -inf, by selection: an unseen score may be NaN.
// `visible0`, `visible1`: tokens of this tile that the two rows see (any integer).
__device__ __forceinline__ void mask_scores(float (&s)[32], int lane, int visible0, int visible1) {
  const int column = 2 * (lane & 3);
#pragma unroll
  for (int n = 0; n < 8; ++n) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const int token = 8 * n + column + e;
      s[4 * n + e] = token < visible0 ? s[4 * n + e] : -INFINITY;
      s[4 * n + 2 + e] = token < visible1 ? s[4 * n + 2 + e] : -INFINITY;
    }
  }
}

// Multiplies the two rows of a 64 x (N / 2) accumulator.
template <int N>
__device__ __forceinline__ void scale_rows(float (&o)[N], float factor0, float factor1) {
#pragma unroll
  for (int i = 0; i < N; i += 4) {
    o[i] *= factor0;
    o[i + 1] *= factor0;
    o[i + 2] *= factor1;
    o[i + 3] *= factor1;
  }
}

}  // namespace seesaw::gpu
