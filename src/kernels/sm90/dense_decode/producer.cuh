// The producer warpgroup: one thread streams KV tiles through TMA, three warps bring the query
// rows.
#pragma once

#include "base/math.hpp"
#include "kernels/sm90/dense_decode/smem.cuh"

namespace seesaw::sm90 {

// This thread block's share: the pieces [piece_begin, piece_end) of its worker, for one KV head and
// one tile of query rows.
struct BlockWork {
  int32_t kv_head;
  int32_t row_tile;
  int32_t piece_begin;
  int32_t piece_end;
};

// Blocks of one worker and KV head walk the same KV tiles; they are neighbours in the grid, so that
// their loads of a tile meet in the L2 cache.
__device__ __forceinline__ BlockWork block_work(const DenseDecodeParams& params) {
  const uint32_t stream = blockIdx.x / static_cast<uint32_t>(params.row_tiles);
  const uint32_t worker = stream / static_cast<uint32_t>(params.h_kv);
  BlockWork work;
  work.row_tile = static_cast<int32_t>(blockIdx.x - stream * params.row_tiles);
  work.kv_head = static_cast<int32_t>(stream - worker * params.h_kv);
  work.piece_begin = __ldg(params.worker_piece_begin + worker);
  work.piece_end = __ldg(params.worker_piece_begin + worker + 1);
  return work;
}

// Tokens that a packed row sees of a sequence; rows past the last count as the last token's.
__device__ __forceinline__ int32_t visible_tokens(const DenseDecodeParams& params, int32_t row,
                                                  int32_t seq_len) {
  if (!params.causal) return seq_len;
  const int32_t token = min(row / params.group, params.s_q - 1);
  return max(seq_len - (params.s_q - 1) + token, 0);
}

// A piece, bounded by the sequence's actual length: the schedule may come from longer lengths.
__device__ __forceinline__ PieceInfo read_piece(const DenseDecodeParams& params, int32_t row_tile,
                                                int32_t index) {
  const int4 piece = __ldg(reinterpret_cast<const int4*>(params.pieces + index));
  const int32_t seq_len = max(__ldg(params.seq_lens + piece.x * params.seq_len_stride), 0);
  const int32_t tiles = static_cast<int32_t>((static_cast<uint32_t>(seq_len) + 63u) / 64u);
  PieceInfo info;
  info.sequence = piece.x;
  info.num_tiles = max(min(piece.z, tiles) - piece.y, 0);
  info.token_begin = piece.y * kTileTokens;
  info.seq_len = seq_len;
  // The tile's first row sees least.
  info.masked_tile = visible_tokens(params, row_tile * kTileRows, seq_len) / kTileTokens - piece.y;
  info.partial = piece.w;
  return info;
}

// Streams the KV tiles of every piece, in order, into the two buffers: even tiles of a piece into
// buffer 0, odd ones into buffer 1. One thread runs this.
template <typename Config>
struct KvLoader {
  const DenseDecodeParams& params;
  const SharedAddresses<Config>& shared;
  int32_t kv_head;

  // Where a tile is: a page, and the first token in it.
  struct Place {
    int32_t page;
    int32_t token;
  };

  __device__ __forceinline__ Place find(const int32_t* table, int32_t tile) const {
    const uint32_t entry =
        static_cast<uint32_t>(tile) / static_cast<uint32_t>(params.tiles_per_page);
    return {__ldg(table + entry),
            static_cast<int32_t>(tile - entry * params.tiles_per_page) * kTileTokens};
  }

  // One half of a tile, once the previous tile's has been released. `use`: how often the buffer has
  // been filled before.
  __device__ __forceinline__ void load_half(const Place& place, int buffer, int half,
                                            uint32_t use) const {
    ptx::mbarrier_wait(shared.kv_empty(buffer, half), (use & 1) ^ 1);
    const int first = half * kHalfBoxes;
    const int boxes = half == 0 ? kHalfBoxes : Config::kQkBoxes - kHalfBoxes;
    const uint32_t full = shared.kv_full(buffer, half);
    ptx::mbarrier_arrive_expect(full, boxes * static_cast<int>(sizeof(Box)));
    ptx::copy_box<ptx::kEvictFirst>(shared.kv(buffer) + first * sizeof(Box),
                                    half == 0 ? &params.kv_left_map : &params.kv_right_map, full,
                                    {0, place.token, first, kv_head, place.page});
  }

  __device__ __forceinline__ void run(const BlockWork& work) const {
    uint32_t use0 = 0, use1 = 0;
#pragma unroll 1
    for (int32_t index = work.piece_begin; index < work.piece_end; ++index) {
      const PieceInfo piece = read_piece(params, work.row_tile, index);
      const int32_t* table = params.block_table + piece.sequence * params.block_table_stride;
      const int32_t first = piece.token_begin / kTileTokens;
      Place place0{}, place1{};
      if (piece.num_tiles > 0) place0 = find(table, first);
      if (piece.num_tiles > 1) place1 = find(table, first + 1);
#pragma unroll 1
      for (int32_t tile = 0; tile < piece.num_tiles; tile += 2) {
        // The next pair's pages are looked up before waiting for room: their latency is hidden.
        Place next0{}, next1{};
        if (tile + 2 < piece.num_tiles) next0 = find(table, first + tile + 2);
        if (tile + 3 < piece.num_tiles) next1 = find(table, first + tile + 3);
        const bool second = tile + 1 < piece.num_tiles;
        // In the order in which the consumers release the boxes of the pair before; the very first
        // tile is wanted whole at once.
        load_half(place0, 0, 0, use0);
        if (use0 == 0) load_half(place0, 0, 1, use0);
        if (second) load_half(place1, 1, 1, use1);
        if (use0 != 0) load_half(place0, 0, 1, use0);
        if (second) load_half(place1, 1, 0, use1);
        ++use0;
        use1 += second;
        place0 = next0;
        place1 = next1;
      }
    }
  }
};

// Brings the tile's query rows of each piece by TMA, where a tile is a box: the group is a multiple
// of 64, or divides it. Tokens past s_q are filled with zeros. One thread runs this.
template <typename Config>
struct QueryBoxLoader {
  const DenseDecodeParams& params;
  const SharedAddresses<Config>& shared;
  SharedStorage<Config>& storage;
  BlockWork work;

  __device__ __forceinline__ void run() const {
    const int32_t row = work.row_tile * kTileRows;
    const int32_t token = row / params.group;
    const int32_t head = work.kv_head * params.group + row - token * params.group;
#pragma unroll 1
    for (int32_t index = work.piece_begin; index < work.piece_end; ++index) {
      const uint32_t parity = (index - work.piece_begin) & 1;
      const PieceInfo piece = read_piece(params, work.row_tile, index);
      ptx::mbarrier_wait(shared.q_empty(0), parity ^ 1);
      storage.piece[parity] = piece;
      ptx::mbarrier_arrive_expect(shared.q_full(0), kValueBoxes * sizeof(Box));
      for (int box = 0; box < kValueBoxes; box += kHalfBoxes) {
        ptx::copy_box<ptx::kEvictNormal>(shared.q() + box * sizeof(Box), &params.q_half_map,
                                         shared.q_full(0), {0, head, token, box, piece.sequence});
      }
      if constexpr (Config::kHasRotaryBox) {
        ptx::mbarrier_wait(shared.q_empty(1), parity ^ 1);
        ptx::mbarrier_arrive_expect(shared.q_full(1), sizeof(Box));
        ptx::copy_box<ptx::kEvictNormal>(shared.q() + kValueBoxes * sizeof(Box),
                                         &params.q_rotary_map, shared.q_full(1),
                                         {0, head, token, kValueBoxes, piece.sequence});
      }
    }
  }
};

// The same for any group, strides and alignment, and with the sign flipped for a negative scale:
// kQueryLoaderWarps warps copy row by row. Rows past the last are filled with zeros.
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
    return ptx::opaque(threadIdx.x) % kWarpgroupThreads / 32 - 1;
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

  // Boxes [box_begin, box_end) of every row.
  __device__ __forceinline__ void copy(int32_t sequence, int box_begin, int box_end) const {
#pragma unroll 1
    for (int32_t row = first_row(); row < kTileRows; row += kRowStep) {
      const int32_t packed = work.row_tile * kTileRows + row;
      const bool valid = packed < params.rows;
      const int32_t token = valid ? packed / params.group : 0;
      const int32_t head = valid ? work.kv_head * params.group + packed - token * params.group : 0;
      const uint16_t* from = static_cast<const uint16_t*>(params.q) +
                             sequence * params.q_stride_batch + token * params.q_stride_token +
                             head * params.q_stride_head + (lane() % kChunks) * kChunkElements;
#pragma unroll 1
      for (int box = box_begin; box < box_end; ++box) {
        if (params.q_aligned) {
          ptx::copy_async_16(destination(row, box), from + box * kBoxColumns, valid);
        } else {
          copy_unaligned(destination(row, box), from + box * kBoxColumns, valid);
        }
      }
    }
  }

  // For a negative scale: flips the sign of what this thread has copied.
  __device__ __forceinline__ void negate(int box_begin, int box_end) const {
#pragma unroll 1
    for (int32_t row = first_row(); row < kTileRows; row += kRowStep) {
#pragma unroll 1
      for (int box = box_begin; box < box_end; ++box) {
        uint4 v = ptx::load_shared_16(destination(row, box));
        v.x ^= 0x80008000u;
        v.y ^= 0x80008000u;
        v.z ^= 0x80008000u;
        v.w ^= 0x80008000u;
        ptx::store_shared_16(destination(row, box), v);
      }
    }
  }

  __device__ __forceinline__ void run() const {
    constexpr int kParts = Config::kHasRotaryBox ? 2 : 1;
#pragma unroll 1
    for (int32_t index = work.piece_begin; index < work.piece_end; ++index) {
      const uint32_t parity = (index - work.piece_begin) & 1;
#pragma unroll 1
      for (int part = 0; part < kParts; ++part) {
        ptx::mbarrier_wait(shared.q_empty(part), parity ^ 1);
        if (part == 0 && loader() == 0 && lane() == 0) {
          storage.piece[parity] = read_piece(params, work.row_tile, index);
        }
        const int box_begin = part * kValueBoxes;
        const int box_end = part == 0 ? kValueBoxes : Config::kQkBoxes;
        copy(__ldg(&params.pieces[index].sequence), box_begin, box_end);
        ptx::copy_async_wait_all();
        if (params.negate_q) negate(box_begin, box_end);
        ptx::fence_async_proxy();
        __syncwarp();
        if (lane() == 0) ptx::mbarrier_arrive(shared.q_full(part));
      }
    }
  }
};

}  // namespace seesaw::sm90
