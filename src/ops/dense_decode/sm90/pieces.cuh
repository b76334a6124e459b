// A thread block's share of the schedule: its pieces, and the KV tiles of them.
#pragma once

#include "base/math.hpp"
#include "ops/dense_decode/sm90/config.hpp"

namespace seesaw::dense_decode::sm90 {

// What the warpgroups need to know of a piece.
struct PieceInfo {
  int32_t sequence;
  int32_t row_tile;     // behind the last one in a last row group of fewer tiles: nothing to do
  int32_t num_tiles;    // 0: nothing to attend
  int32_t token_begin;  // first token of the first tile
  int32_t masked_tile;  // tiles of the piece below this one are seen whole by every row
  int32_t seq_len;      // >= 0
  int32_t partial;      // slot, or -1: write out directly
  bool stale;           // planned for another length: its results are NaN
};

// This thread block's share: the pieces of its worker, for one KV head and one tile of each piece's
// row group.
struct BlockWork {
  int32_t kv_head;
  int32_t tile_of_group;
  int32_t piece_begin;  // of the schedule
  int32_t num_pieces;
  int32_t rest_step;  // from the piece before the last to the last: 1 unless that is a rest piece
  bool foreign;       // the schedule is another plan's: no pieces

  // The schedule's number of piece k of the worker.
  __device__ __forceinline__ int32_t piece_at(int32_t k) const {
    return piece_begin + k + (k == num_pieces - 1 ? rest_step - 1 : 0);
  }
};

// The grid is (row tile of the group, KV head, worker), row tiles fastest: blocks of one worker and
// KV head walk the same KV tiles, and neighbours in the grid run on neighbouring SMs, whose loads
// of a tile meet (measured: 54 bytes a cycle and SM instead of 31). Plain loads, here and below:
// the block may have been launched while the kernel that writes these tables still runs, and a
// read-only load (ld.global.nc) may be moved ahead of the wait for it.
__device__ __forceinline__ BlockWork block_work(const DenseDecodeParams& params) {
  BlockWork work;
  work.tile_of_group = static_cast<int32_t>(blockIdx.x);
  work.kv_head = static_cast<int32_t>(blockIdx.y);
  const auto worker = static_cast<int32_t>(blockIdx.z);
  const split::WorkerPieces row = params.worker_pieces[worker];
  work.foreign = row.tag != params.schedule_tag;
  work.piece_begin = row.begin;
  work.num_pieces = work.foreign ? 0 : row.end - row.begin + (row.rest >= 0 ? 1 : 0);
  work.rest_step = row.rest >= 0 ? row.rest - row.end + 1 : 1;
  return work;
}

// Tokens that a packed row sees of a sequence; rows past the last count as the last token's.
__device__ __forceinline__ int32_t visible_tokens(const DenseDecodeParams& params, int32_t row,
                                                  int32_t seq_len) {
  if (!params.causal) return seq_len;
  const int32_t token = min(params.group.divide(row), params.s_q - 1);
  return max(seq_len - (params.s_q - 1) + token, 0);
}

__device__ __forceinline__ int32_t read_seq_len(const DenseDecodeParams& params, int32_t sequence) {
  return max(params.seq_lens[sequence * params.seq_len_stride], 0);
}

// The tile of query rows that the block has in a row group.
__device__ __forceinline__ int32_t row_tile_of(const DenseDecodeParams& params,
                                               const BlockWork& work, int32_t row_group) {
  return row_group * params.group_tiles + work.tile_of_group;
}

// KV tiles of a sequence of seq_len >= 0 tokens.
__device__ __forceinline__ int32_t tiles_of(int32_t seq_len) {
  return static_cast<int32_t>((static_cast<uint32_t>(seq_len) + 63u) / 64u);
}

// End of a piece's tiles for one tile of query rows: bounded by the sequence's actual length, as a
// stale schedule may come from longer lengths, and 0 where there are no rows.
__device__ __forceinline__ int32_t bounded_tile_end(const DenseDecodeParams& params,
                                                    int32_t row_tile, int32_t tile_end,
                                                    int32_t seq_len) {
  return row_tile < params.row_tiles ? min(tile_end, tiles_of(seq_len)) : 0;
}

__device__ __forceinline__ PieceInfo read_piece(const DenseDecodeParams& params,
                                                const BlockWork& work, int32_t index) {
  const split::Piece& piece = params.pieces[index];
  const int32_t seq_len = read_seq_len(params, piece.sequence);
  PieceInfo info;
  info.sequence = piece.sequence;
  info.row_tile = row_tile_of(params, work, piece.row_group);
  info.num_tiles =
      max(bounded_tile_end(params, info.row_tile, piece.tile_end, seq_len) - piece.tile_begin, 0);
  info.token_begin = piece.tile_begin * kTileTokens;
  info.seq_len = seq_len;
  // The tile's first row sees least.
  info.masked_tile =
      visible_tokens(params, info.row_tile * kTileRows, seq_len) / kTileTokens - piece.tile_begin;
  info.partial = piece.partial;
  info.stale = piece.sequence_tiles != tiles_of(seq_len);
  if (info.stale) *params.fault = gpu::Fault::kStaleSchedule;
  return info;
}

// Where a KV tile is: a page, and the first token in it.
struct KvPlace {
  int32_t page;
  int32_t token;
};

__device__ __forceinline__ KvPlace find_tile(const DenseDecodeParams& params, int32_t sequence,
                                             int32_t tile) {
  const int32_t* table = params.block_table + sequence * params.block_table_stride;
  const int32_t entry = params.tiles_per_page.divide(tile);
  return {table[entry], params.tiles_per_page.remainder(tile, entry) * kTileTokens};
}

// A KV tile of a block's pieces, in order. next_tile() finds the next one's page well before there
// is room for it, so that the chain of loads (piece, length, block table) is hidden.
struct KvCursor {
  int32_t index = -1;  // of the worker's pieces
  int32_t sequence = 0;
  int32_t tile = 0;  // of the sequence
  int32_t tile_end = 0;
  KvPlace place = {};
};

// Steps to the next tile that exists, of each piece the `first` and every `step` further; false if
// there is none.
__device__ __forceinline__ bool next_tile(const DenseDecodeParams& params, const BlockWork& work,
                                          int32_t first, int32_t step, KvCursor& cursor) {
  cursor.tile += step;
  if (cursor.tile < cursor.tile_end) {
    cursor.place = find_tile(params, cursor.sequence, cursor.tile);
    return true;
  }
  while (++cursor.index < work.num_pieces) {
    const split::Piece& piece = params.pieces[work.piece_at(cursor.index)];
    cursor.sequence = piece.sequence;
    cursor.tile = piece.tile_begin + first;
    const int32_t tile_end = piece.tile_end;
    // The page is looked up beside the length, not after it: the schedule vouches for the entry.
    if (cursor.tile < tile_end) cursor.place = find_tile(params, cursor.sequence, cursor.tile);
    cursor.tile_end = bounded_tile_end(params, row_tile_of(params, work, piece.row_group), tile_end,
                                       read_seq_len(params, cursor.sequence));
    if (cursor.tile < cursor.tile_end) return true;
  }
  return false;
}

}  // namespace seesaw::dense_decode::sm90
