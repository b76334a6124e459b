// What rows of a piece see, under the causal mask.
#pragma once

#include "gpu/sm90/seesaw.cuh"
#include "ops/dense_decode/sm90/pieces.cuh"

namespace seesaw::dense_decode::sm90 {

// Where a piece's masks begin. Rows see different numbers of tokens under the causal mask; tiles
// wholly below the least of them need no mask.
struct PieceMask {
  int32_t seq_len;
  int32_t least;     // least number of tokens that a row of the tile sees
  int32_t visible0;  // tokens that the thread's two rows see
  int32_t visible1;
};

__device__ __forceinline__ PieceMask piece_mask(const DenseDecodeParams& params, int32_t row_tile,
                                                int32_t row, int32_t seq_len) {
  PieceMask mask;
  mask.seq_len = seq_len;
  mask.least = visible_tokens(params, row_tile * kTileRows, seq_len);
  mask.visible0 = visible_tokens(params, row_tile * kTileRows + row, seq_len);
  mask.visible1 = visible_tokens(params, row_tile * kTileRows + row + 8, seq_len);
  return mask;
}

}  // namespace seesaw::dense_decode::sm90
