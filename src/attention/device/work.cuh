// What a thread block has to do: the pieces of its worker, for one KV head and one tile of query
// rows.
#pragma once

#include "attention/device/params.hpp"

namespace seesaw::attention::device {

// The grid is (row tile of the group, KV head, worker).
__device__ __forceinline__ int32_t tile_of_group() { return static_cast<int32_t>(blockIdx.x); }
__device__ __forceinline__ int32_t block_kv_head() { return static_cast<int32_t>(blockIdx.y); }

struct BlockWork {
  int32_t piece_begin;  // of the schedule
  int32_t num_pieces;
  int32_t rest_step;  // from the piece before the last to the last: 1 unless that is a rest piece
  bool foreign;       // the schedule is another plan's: no pieces

  __device__ __forceinline__ int32_t piece_at(int32_t k) const {
    return piece_begin + k + (k == num_pieces - 1 ? rest_step - 1 : 0);
  }
};

__device__ __forceinline__ BlockWork block_work(const Params& params) {
  const split::WorkerPieces row = params.worker_pieces[blockIdx.z];
  BlockWork work;
  work.foreign = row.tag != params.schedule_tag;
  work.piece_begin = row.begin;
  work.num_pieces = work.foreign ? 0 : row.end - row.begin + (row.rest >= 0 ? 1 : 0);
  work.rest_step = row.rest >= 0 ? row.rest - row.end + 1 : 1;
  return work;
}

// A packed row's place among query tokens and heads.
struct RowPlace {
  int32_t token;  // of the item
  int32_t head;
};

__device__ __forceinline__ RowPlace place_of(const Params& params, int32_t packed) {
  const int32_t token = params.group.divide(packed);
  return {token, block_kv_head() * static_cast<int32_t>(params.group.value) +
                     params.group.remainder(packed, token)};
}

// An item of the call: where its rows are and how many tokens it has.
//
// Config here and in this folder is a kernel's: its kTileTokens (KV tokens of a tile), kTileRows
// (query rows of a tile), kValueColumns, Element, and kConverts (whether the cache's records are
// converted to it).
struct Item {
  int32_t sequence;
  int32_t token_of_sequence;  // of the item's first query token; ragged: of the whole call
  int32_t num_queries;
  int32_t length[kMostStreams];
  int32_t origin;       // token with which tile 0 begins: see attention/problem.hpp
  int32_t first_tiles;  // of the first stream, as the planner counts them
};

// Tiles of so many tokens, and of an item.
template <typename Config>
__device__ __forceinline__ int32_t tiles_of(int32_t tokens) {
  return (tokens + Config::kTileTokens - 1) / Config::kTileTokens;
}
template <typename Config>
__device__ __forceinline__ int32_t tiles_of(const Item& item) {
  return item.first_tiles + tiles_of<Config>(item.length[1]);
}

template <typename Config>
__device__ __forceinline__ Item read_item(const Params& params, int32_t index) {
  Item item;
  item.sequence = params.items_per_sequence.divide(index);
  item.token_of_sequence = params.items_per_sequence.remainder(index, item.sequence);
  item.num_queries = params.s_q;
  if (params.query_begin != nullptr) {
    item.token_of_sequence = params.query_begin[index];
    item.num_queries = params.query_begin[index + 1] - item.token_of_sequence;
  }
#pragma unroll
  for (size_t s = 0; s < kMostStreams; ++s) {
    const StreamParams& stream = params.streams[s];
    const int32_t length = stream.lengths == nullptr
                               ? stream.most
                               : stream.lengths[item.sequence * stream.lengths_stride];
    item.length[s] =
        static_cast<int>(s) < params.num_streams ? max(min(length, stream.most), 0) : 0;
  }
  const int32_t behind = max(item.length[0] - params.planned_tokens, 0);
  constexpr int32_t kStep = static_cast<int32_t>(kOriginStep);
  item.origin = (behind + kStep - 1) / kStep * kStep;
  item.first_tiles = tiles_of<Config>(min(item.length[0], params.planned_tokens));
  return item;
}

// Tokens [begin, end) of the item that a query token sees, its tree mask aside: sight_of() in
// attention/problem.hpp.
struct RowSight {
  int32_t begin;
  int32_t end;
};

template <typename Config>
__device__ __forceinline__ RowSight sight_of(const Params& params, const Item& item,
                                             int32_t token) {
  // Of two streams every row sees all.
  const int32_t length = params.num_streams == 1
                             ? item.length[0]
                             : item.first_tiles * Config::kTileTokens + item.length[1];
  RowSight sight = {0, length};
  const int32_t position = length - item.num_queries + token;
  if (params.causal) sight.end = max(min(position + 1, length), 0);
  if (params.window > 0) sight.begin = min(max(position + 1 - params.window, 0), sight.end);
  return sight;
}

// A piece, for the block's tile of rows.
struct PieceWork {
  Item item;
  int32_t row_tile;
  int32_t tile_begin, tile_end;    // what some row of the tile sees; begin == end: nothing
  int32_t sight_begin, sight_end;  // tokens that every row sees, a tree mask aside
  int32_t partial;                 // slot, or -1
  bool stale;                      // the schedule was made for other lengths
};

template <typename Config>
__device__ __forceinline__ PieceWork read_piece(const Params& params, const BlockWork& work,
                                                int32_t k) {
  const split::Piece& piece = params.pieces[work.piece_at(k)];
  PieceWork found;
  found.item = read_item<Config>(params, piece.sequence);
  found.row_tile = piece.row_group * params.group_tiles + tile_of_group();
  found.partial = piece.partial;
  const int32_t tiles = tiles_of<Config>(found.item);
  found.stale = piece.sequence_tiles != tiles;
  const int32_t rows = found.item.num_queries * static_cast<int32_t>(params.group.value);
  const int32_t first_row = found.row_tile * Config::kTileRows;
  const int32_t last_row = min(first_row + Config::kTileRows, rows) - 1;
  if (first_row > last_row) {
    found.tile_begin = found.tile_end = 0;
    found.sight_begin = found.sight_end = 0;
    return found;
  }
  const RowSight first = sight_of<Config>(params, found.item, params.group.divide(first_row));
  const RowSight last = sight_of<Config>(params, found.item, params.group.divide(last_row));
  found.sight_begin = last.begin;
  found.sight_end = first.end;
  const int32_t origin = found.item.origin;
  found.tile_begin = max(piece.tile_begin, (first.begin - origin) / Config::kTileTokens);
  found.tile_end = min(min(piece.tile_end, tiles), tiles_of<Config>(last.end - origin));
  found.tile_end = max(found.tile_end, found.tile_begin);
  return found;
}

// Which stream a tile of an item belongs to, and its first token there.
struct TilePlace {
  int stream;
  int32_t token;   // of the stream
  int32_t length;  // of the stream
};

template <typename Config>
__device__ __forceinline__ TilePlace place_of_tile(const Item& item, int32_t tile) {
  if (tile >= item.first_tiles) {
    return {1, (tile - item.first_tiles) * Config::kTileTokens, item.length[1]};
  }
  return {0, item.origin + tile * Config::kTileTokens, item.length[0]};
}

// A row of the queries: its first q_columns numbers, and the others.
struct QueryRow {
  const uint16_t* first;
  const uint16_t* rotary;

  __device__ __forceinline__ const uint16_t* at(const Params& params, int32_t column) const {
    return column < params.q_columns ? first + column : rotary + (column - params.q_columns);
  }
};

// Two null pointers if the tile has no row there.
__device__ __forceinline__ QueryRow query_row(const Params& params, const Item& item,
                                              int32_t packed) {
  const RowPlace place = place_of(params, packed);
  if (place.token >= item.num_queries) return {nullptr, nullptr};
  const int64_t token = item.token_of_sequence + place.token;
  return {static_cast<const uint16_t*>(params.q) + item.sequence * params.q_stride_sequence +
              token * params.q_stride_token + place.head * params.q_stride_head,
          static_cast<const uint16_t*>(params.q_rotary) +
              item.sequence * params.q_rotary_stride_sequence +
              token * params.q_rotary_stride_token + place.head * params.q_rotary_stride_head};
}

}  // namespace seesaw::attention::device
