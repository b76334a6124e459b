// The producer warpgroup: two threads stream KV tiles through TMA, one a buffer; one thread brings
// the query rows by TMA, or two warps bring them row by row.
#pragma once

#include "base/math.hpp"
#include "gpu/ptx/cp_async.cuh"
#include "gpu/ptx/registers.cuh"
#include "gpu/ptx/tma.cuh"
#include "ops/dense_decode/sm90/smem.cuh"

namespace seesaw::dense_decode::sm90 {

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

// Streams the KV tiles of every piece, in order, through one buffer: even tiles of a piece go to
// buffer 0, odd ones to buffer 1. One thread a buffer runs this.
template <typename Config>
struct KvLoader {
  const DenseDecodeParams& params;
  const SharedAddresses<Config>& shared;
  BlockWork work;
  int32_t buffer;

  // Where a tile is: a page, and the first token in it.
  struct Place {
    int32_t page;
    int32_t token;
  };

  // The tiles of this buffer over all pieces. advance() finds the next one's page well before there
  // is room for it, so that the chain of loads (piece, length, block table) is hidden.
  struct Cursor {
    int32_t index;  // of the worker's pieces
    int32_t sequence;
    int32_t tile;  // of the sequence
    int32_t tile_end;
    Place place;
  };

  __device__ __forceinline__ Place find(int32_t sequence, int32_t tile) const {
    const int32_t* table = params.block_table + sequence * params.block_table_stride;
    const int32_t entry = params.tiles_per_page.divide(tile);
    return {table[entry], params.tiles_per_page.remainder(tile, entry) * kTileTokens};
  }

  // Steps to the next tile that exists; false if there is none.
  __device__ __forceinline__ bool advance(Cursor& cursor) const {
    cursor.tile += 2;
    if (cursor.tile < cursor.tile_end) {
      cursor.place = find(cursor.sequence, cursor.tile);
      return true;
    }
    while (++cursor.index < work.num_pieces) {
      const split::Piece& piece = params.pieces[work.piece_at(cursor.index)];
      cursor.sequence = piece.sequence;
      cursor.tile = piece.tile_begin + buffer;
      const int32_t tile_end = piece.tile_end;
      // The page is looked up beside the length, not after it: the schedule vouches for the entry.
      if (cursor.tile < tile_end) cursor.place = find(cursor.sequence, cursor.tile);
      cursor.tile_end = bounded_tile_end(params, row_tile_of(params, work, piece.row_group),
                                         tile_end, read_seq_len(params, cursor.sequence));
      if (cursor.tile < cursor.tile_end) return true;
    }
    return false;
  }

  __device__ __forceinline__ void copy(const Place& place, int index, int box, int boxes,
                                       const CUtensorMap* map) const {
    const gpu::FullBarrier full = shared.kv_full(buffer, index);
    full.expect(boxes * static_cast<int>(sizeof(Box)));
    ptx::copy_box<ptx::kEvictFirst>(shared.kv(buffer) + box * sizeof(Box), map, full.address,
                                    {0, place.token, box, work.kv_head, place.page});
  }

  // One half of a tile, once the previous tile's has been released. The rotary box belongs to the
  // right half.
  __device__ __forceinline__ void load_half(const Place& place, int half, gpu::Turn turn) const {
    shared.kv_empty(buffer, half).wait(turn);
#pragma unroll
    for (int i = 0; i < kHalfCopies; ++i) {
      const int index = half * kHalfCopies + i;
      copy(place, index, index * kCopyBoxes, kCopyBoxes, &params.kv_map);
    }
    if (Config::kHasRotaryBox && half == 1) {
      copy(place, Config::kRotaryCopy, kValueBoxes, 1, &params.kv_rotary_map);
    }
  }

  __device__ __forceinline__ void run() const {
    Cursor cursor{-1, 0, 0, 0, {}};
    for (gpu::Turn turn; advance(cursor); turn.advance()) {
      // The half that is released first comes first: the one that the tile's own warpgroup
      // multiplies. (The buffer's addresses are computed anew: registers are few.)
      const KvLoader here{params, shared, work, ptx::opaque(buffer)};
#pragma unroll 1
      for (int i = 0; i < 2; ++i) here.load_half(cursor.place, i ^ here.buffer, turn);
    }
  }
};

// Brings the query rows of each piece by TMA, where a tile is a box: the group is a multiple of 64,
// or divides it. Tokens past s_q are filled with zeros. One thread runs this.
template <typename Config>
struct QueryBoxLoader {
  const DenseDecodeParams& params;
  const SharedAddresses<Config>& shared;
  SharedStorage<Config>& storage;
  BlockWork work;

  __device__ __forceinline__ void run() const {
    gpu::Turn turn;
#pragma unroll 1
    for (int32_t k = 0; k < work.num_pieces; ++k, turn.advance()) {
      const int32_t index = work.piece_at(k);
      const int32_t sequence = params.pieces[index].sequence;
      const int32_t row = row_tile_of(params, work, params.pieces[index].row_group) * kTileRows;
      const int32_t token = params.group.divide(row);
      const int32_t head = work.kv_head * static_cast<int32_t>(params.group.value) +
                           params.group.remainder(row, token);
      shared.q_empty(0).wait(turn);
#pragma unroll
      for (int box = 0; box < kValueBoxes; box += kHalfBoxes) {
        ptx::copy_box<ptx::kEvictNormal>(shared.q() + box * sizeof(Box), &params.q_half_map,
                                         shared.q_full(0).address, {0, head, token, box, sequence});
      }
      // The description, which waits for the length, is looked up while the copies are under way.
      // The barrier counts bytes below zero until they are announced.
      storage.piece[turn.slot()] = read_piece(params, work, index);
      shared.q_full(0).expect(kValueBoxes * sizeof(Box));
      if constexpr (Config::kHasRotaryBox) {
        shared.q_empty(1).wait(turn);
        shared.q_full(1).expect(sizeof(Box));
        ptx::copy_box<ptx::kEvictNormal>(shared.q() + kValueBoxes * sizeof(Box),
                                         &params.q_rotary_map, shared.q_full(1).address,
                                         {0, head, token, 0, sequence});
      }
    }
  }
};

// The same for any group, strides and alignment, and times a factor: kQueryLoaderWarps warps copy
// row by row. Rows past the last are filled with zeros.
template <typename Config>
struct QueryRowLoader {
  const DenseDecodeParams& params;
  const SharedAddresses<Config>& shared;
  SharedStorage<Config>& storage;
  BlockWork work;

  static constexpr int kChunks = kBoxColumns * 2 / 16;  // of 16 bytes in a row of a box
  static constexpr int kRowsPerStep = 32 / kChunks;     // rows that a warp copies at once
  static constexpr int kChunkElements = 16 / sizeof(uint16_t);

  // Read anew where they are used: this role has few registers.
  static __device__ __forceinline__ int32_t lane() { return ptx::opaque(threadIdx.x) % 32; }
  static __device__ __forceinline__ int32_t loader() {  // warp, 0 .. kQueryLoaderWarps - 1
    return ptx::opaque(threadIdx.x) % kWarpgroupThreads / 32 - (4 - kQueryLoaderWarps);
  }
  // The rows that this thread copies: first_row(), and every kRowStep further.
  static __device__ __forceinline__ int32_t first_row() {
    return loader() * kRowsPerStep + lane() / kChunks;
  }
  static constexpr int kRowStep = kQueryLoaderWarps * kRowsPerStep;

  __device__ __forceinline__ uint32_t destination(int32_t row, int32_t box) const {
    const int32_t chunk = lane() % kChunks;
    return shared.q() + box * static_cast<uint32_t>(sizeof(Box)) + row * (kBoxColumns * 2) +
           ((chunk ^ (row & 7)) << 4);
  }

  // A chunk from a row that does not start on 16 bytes: element by element.
  static __device__ __forceinline__ void copy_unaligned(uint32_t to, const uint16_t* from,
                                                        bool valid) {
#pragma unroll 1
    for (int i = 0; i < kChunkElements; ++i) {
      ptx::store_shared_2(to + i * sizeof(uint16_t), valid ? from[i] : uint16_t{0});
    }
  }

  // A part's boxes, [box_begin, box_end) of every row.
  __device__ __forceinline__ void copy(const QueryPart& part, int32_t sequence, int32_t row_tile,
                                       int box_begin, int box_end) const {
#pragma unroll 1
    for (int32_t row = first_row(); row < kTileRows; row += kRowStep) {
      const int32_t packed = row_tile * kTileRows + row;
      const bool valid = packed < params.rows;
      const int32_t token = valid ? params.group.divide(packed) : 0;
      const int32_t head = valid ? work.kv_head * static_cast<int32_t>(params.group.value) +
                                       params.group.remainder(packed, token)
                                 : 0;
      const uint16_t* from = static_cast<const uint16_t*>(part.data) +
                             sequence * part.stride_batch + token * part.stride_token +
                             head * part.stride_head + (lane() % kChunks) * kChunkElements;
      const uint32_t end = destination(row, box_end);
#pragma unroll 1
      for (uint32_t to = destination(row, box_begin); to < end; to += sizeof(Box)) {
        if (params.q_aligned) {
          ptx::copy_async_16(to, from, valid);
        } else {
          copy_unaligned(to, from, valid);
        }
        from += kBoxColumns;
      }
    }
  }

  // Multiplies what this thread has copied by q_factor. Its rows are kRowStep apart, so they have
  // their chunks at one place of a row, and go on from box to box in equal steps.
  __device__ __forceinline__ void multiply(int box_begin, int box_end) const {
    using Element = typename Config::Element;
    constexpr uint32_t kStep = kRowStep * kBoxColumns * sizeof(uint16_t);
    static_assert(kRowStep % 8 == 0 && sizeof(Box) % kStep == 0);
    const uint32_t end = destination(first_row(), box_end);
#pragma unroll 1
    for (uint32_t chunk = destination(first_row(), box_begin); chunk < end; chunk += kStep) {
#pragma unroll 1
      for (uint32_t word = chunk; word < chunk + 16; word += sizeof(uint32_t)) {
        const float2 pair = ptx::unpack<Element>(ptx::load_shared_4(word));
        ptx::store_shared_4(word,
                            ptx::pack<Element>(pair.x * params.q_factor, pair.y * params.q_factor));
      }
    }
  }

  __device__ __forceinline__ void run() const {
    constexpr int kParts = Config::kHasRotaryBox ? 2 : 1;
    const auto num_pieces = static_cast<uint32_t>(work.num_pieces);
    gpu::Turn turn;
#pragma unroll 1
    for (; turn.number() < num_pieces; turn.advance()) {
      const int32_t index = work.piece_at(static_cast<int32_t>(turn.number()));
#pragma unroll 1
      for (int part = 0; part < kParts; ++part) {
        shared.q_empty(part).wait_warp(turn);
        if (part == 0 && loader() == 0 && lane() == 0) {
          storage.piece[turn.slot()] = read_piece(params, work, index);
        }
        const int box_begin = part * kValueBoxes;
        const int box_end = part == 0 ? kValueBoxes : Config::kQkBoxes;
        const split::Piece& piece = params.pieces[index];
        copy(params.q[part], piece.sequence, row_tile_of(params, work, piece.row_group), box_begin,
             box_end);
        ptx::copy_async_wait_all();
        if (params.q_factor != 1.0F) multiply(box_begin, box_end);
        ptx::fence_async_proxy();
        __syncwarp();
        if (lane() == 0) shared.q_full(part).arrive();
      }
    }
  }
};

}  // namespace seesaw::dense_decode::sm90
