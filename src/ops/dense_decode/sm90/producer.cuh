// The producer warpgroup: two threads stream KV tiles through TMA, one a buffer; one thread brings
// the query rows by TMA, or two warps bring them row by row.
#pragma once

#include "gpu/ptx/arithmetic.cuh"
#include "gpu/ptx/cp_async.cuh"
#include "gpu/ptx/registers.cuh"
#include "gpu/ptx/tma.cuh"
#include "ops/dense_decode/sm90/smem.cuh"

namespace seesaw::dense_decode::sm90 {

// Streams the KV tiles of every piece, in order, through one buffer: even tiles of a piece go to
// buffer 0, odd ones to buffer 1. One thread a buffer runs this.
template <typename Config>
struct KvLoader {
  const DenseDecodeParams& params;
  const SharedAddresses<Config>& shared;
  BlockWork work;
  int32_t buffer;

  __device__ __forceinline__ void copy(const KvPlace& place, int index, int box, int boxes,
                                       const CUtensorMap* map) const {
    const gpu::FullBarrier full = shared.kv_full(buffer, index);
    full.expect(boxes * static_cast<int>(sizeof(Box)));
    ptx::copy_box<ptx::kEvictFirst>(shared.kv(buffer) + box * sizeof(Box), map, full.address,
                                    {0, place.token, box, work.kv_head, place.page});
  }

  // One half of a tile, once the previous tile's has been released. The rotary box belongs to the
  // right half.
  __device__ __forceinline__ void load_half(const KvPlace& place, int half, gpu::Turn turn) const {
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
    KvCursor cursor;
    for (gpu::Turn turn; next_tile(params, work, buffer, 2, cursor); turn.advance()) {
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
