// How eight warps share a tile of 64 query rows x 64 tokens in rungs 6 and 8, and the softmax on
// the fragments that they hold. Warp w has rows [16 (w % 4), + 16); of the scores it computes half
// of the tokens, [32 (w / 4), + 32), and of the output half of the columns, [256 (w / 4), + 256).
#pragma once

#include "ladder/arithmetic.hpp"
#include "ladder/mma.cuh"
#include "ladder/runtime.cuh"

namespace seesaw::ladder {

inline constexpr int kWarpThreads = 256;
inline constexpr int kWarpRows = 64;
inline constexpr int kScoreTiles = 4;  // 16x8 tiles of scores of a warp: 32 tokens
inline constexpr int kOutTiles = 32;   // 16x8 tiles of output of a warp: 256 columns
inline constexpr int kDepth = 16;      // of one mma

struct WarpPlace {
  int lane;
  int first_row;  // of the warp's 16
  int half;       // of the tokens, and of the output's columns

  __device__ int row(int upper) const { return first_row + lane / 4 + 8 * upper; }  // upper: 0, 1
  __device__ int pair() const { return lane % 4 * 2; }  // this lane's columns of a 16x8 tile
};

__device__ __forceinline__ WarpPlace warp_place() {
  const int warp = static_cast<int>(threadIdx.x) / 32;
  return {static_cast<int>(threadIdx.x) % 32, warp % 4 * 16, warp / 4};
}

// What two warps tell each other about the rows that they share.
struct RowExchange {
  float maximum[2][kWarpRows];
  float sum[2][kWarpRows];
};

// A lane's two rows: the maximum is the whole tile's so far, the sum only of this lane's tokens.
struct RowStats {
  float maximum[2] = {kNoMaximum, kNoMaximum};  // of scale * log2(e) * q . k
  float sum[2] = {0.0F, 0.0F};
};

__device__ __forceinline__ float quad_maximum(float x) {
  x = fmaxf(x, __shfl_xor_sync(~0U, x, 1));
  return fmaxf(x, __shfl_xor_sync(~0U, x, 2));
}
__device__ __forceinline__ float quad_sum(float x) {
  x += __shfl_xor_sync(~0U, x, 1);
  return x + __shfl_xor_sync(~0U, x, 2);
}

// Scales the scores, hides tokens from `count` on, and publishes each row's maximum over this
// warp's half of the tokens. A barrier of the block has to follow.
__device__ __forceinline__ void publish_maximum(const WarpPlace& place, int count, float scale_log2,
                                                float (&scores)[kScoreTiles][4],
                                                RowExchange& rows) {
#pragma unroll
  for (int upper = 0; upper < 2; ++upper) {
    float maximum = kNoMaximum;
#pragma unroll
    for (int n = 0; n < kScoreTiles; ++n) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float& score = scores[n][2 * upper + e];
        const int token = place.half * 32 + n * 8 + place.pair() + e;
        score = token < count ? score * scale_log2 : kNoMaximum;
        maximum = fmaxf(maximum, score);
      }
    }
    maximum = quad_maximum(maximum);
    if (place.lane % 4 == 0) {
      rows.maximum[place.half][place.row(upper)] = maximum;
    }
  }
}

// Moves the rows to the new maximum: the sum, and the output before the tile's values are added to
// it. Scores become probabilities.
__device__ __forceinline__ void online_softmax(const WarpPlace& place, const RowExchange& rows,
                                               float (&scores)[kScoreTiles][4], RowStats& stats,
                                               float (&out)[kOutTiles][4]) {
#pragma unroll
  for (int upper = 0; upper < 2; ++upper) {
    const int row = place.row(upper);
    const float maximum =
        fmaxf(stats.maximum[upper], fmaxf(rows.maximum[0][row], rows.maximum[1][row]));
    const float factor = exp2f(stats.maximum[upper] - maximum);
    stats.maximum[upper] = maximum;
    stats.sum[upper] *= factor;
#pragma unroll
    for (int n = 0; n < kScoreTiles; ++n) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float& score = scores[n][2 * upper + e];
        score = exp2f(score - maximum);
        stats.sum[upper] += score;
      }
    }
#pragma unroll
    for (int n = 0; n < kOutTiles; ++n) {
      out[n][2 * upper] *= factor;
      out[n][2 * upper + 1] *= factor;
    }
  }
}

// Divides by the rows' sums and writes rows below `count`. `result`: the tile's first row.
__device__ __forceinline__ void normalize_and_store(const WarpPlace& place, RowStats& stats,
                                                    RowExchange& rows,
                                                    const float (&out)[kOutTiles][4], int count,
                                                    Bf16* result) {
#pragma unroll
  for (int upper = 0; upper < 2; ++upper) {
    const float sum = quad_sum(stats.sum[upper]);
    if (place.lane % 4 == 0) {
      rows.sum[place.half][place.row(upper)] = sum;
    }
  }
  __syncthreads();
#pragma unroll
  for (int upper = 0; upper < 2; ++upper) {
    const int row = place.row(upper);
    if (row >= count) {
      continue;
    }
    const float reciprocal = 1.0F / (rows.sum[0][row] + rows.sum[1][row]);
    Bf16* line = result + row * kValueColumns + place.half * 256 + place.pair();
#pragma unroll
    for (int n = 0; n < kOutTiles; ++n) {
      *reinterpret_cast<uint32_t*>(line + n * 8) =
          pack_bf16(out[n][2 * upper] * reciprocal, out[n][2 * upper + 1] * reciprocal);
    }
  }
}

}  // namespace seesaw::ladder
