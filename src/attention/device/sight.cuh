// What rows see of a tile, and the soft cap of its scores.
#pragma once

#include "attention/device/work.cuh"
#include "gpu/ptx/arithmetic.cuh"

namespace seesaw::attention::device {

// Whether a query token's tree mask names a token of its item.
__device__ __forceinline__ bool tree_allows(const Params& params, const Item& item,
                                            int32_t query_token, int32_t token) {
  const int32_t k = token - (item.length[0] - item.num_queries);
  if (params.tree_mask == nullptr || k < 0) return true;
  const uint8_t* bits = params.tree_mask + item.sequence * params.tree_stride_sequence +
                        (item.token_of_sequence + query_token) * params.tree_stride_token;
  return (bits[k / 8] >> (k % 8) & 1) != 0;
}

// A tile, for masks.
struct TileSight {
  TilePlace place;
  int32_t item_token;  // of the tile's first token, among all of the item
  bool tail;           // tokens behind the stream's length
  bool partial;        // tokens that not every row sees
};

template <typename Config>
__device__ __forceinline__ TileSight sight_of_tile(const Params& params, const PieceWork& piece,
                                                   int32_t tile) {
  TileSight sight;
  sight.place = place_of_tile<Config>(piece.item, tile);
  sight.item_token = piece.item.origin + tile * Config::kTileTokens;
  const int32_t end = sight.item_token + Config::kTileTokens;
  sight.tail = sight.place.token + Config::kTileTokens > sight.place.length;
  sight.partial =
      end > piece.sight_end || sight.item_token < piece.sight_begin ||
      (params.tree_mask != nullptr && end > piece.item.length[0] - piece.item.num_queries);
  return sight;
}

// A score with the soft cap: cap * tanh(score / cap), in log2 units. NaN stays NaN.
__device__ __forceinline__ float capped(const Params& params, float score) {
  const float x = score * params.inverse_cap * 2.88539008F;  // 2 log2 e
  const float e = ptx::exp2_approx(x);                       // infinite from 128 on: tanh is 1
  return params.cap_log2 * (1.0F - 2.0F / (e + 1.0F));
}

}  // namespace seesaw::attention::device
