// A consumer warpgroup: the tiles of the pieces of its worker, and the query rows of each piece,
// which the consumers bring themselves behind the last tile of the piece before.
#pragma once

#include "attention/sm90/epilogue.cuh"
#include "attention/sm90/tiles_in_turn.cuh"
#include "gpu/marks.cuh"
#include "gpu/ptx/cp_async.cuh"

namespace seesaw::attention::sm90 {

template <typename Config>
struct Consumer : TilesInTurn<Consumer<Config>, Config> {
  using Base = TilesInTurn<Consumer<Config>, Config>;
  using Loop = typename Base::Loop;

  const Params& params;
  const SharedAddresses<Config>& shared;
  SharedStorage<Config>& storage;
  ConsumerThread thread;

  __device__ Consumer(const Params& params_of_launch, const SharedAddresses<Config>& addresses,
                      SharedStorage<Config>& plan, ConsumerThread place)
      : params(params_of_launch), shared(addresses), storage(plan), thread(place) {}

  __device__ __forceinline__ float scale_log2() const { return params.scale_log2; }
  __device__ __forceinline__ void note_scored(const Loop& loop) const {
    note(loop, gpu::Mark::kScored);
  }
  __device__ __forceinline__ void first_pair_done(const Loop& loop) const {
    note(loop, gpu::Mark::kFirstPair);
  }
  static __device__ __forceinline__ void note(const Loop& loop, gpu::Mark what) {
    gpu::mark<Config>(static_cast<int>(loop.piece.number()), what);
  }

  __device__ __forceinline__ void note_maxima(int tile, float max0, float max1) const {
    if (params.max_logits == nullptr || thread.lane % 4 != 0) return;
    float(&top)[kTileRows] = storage.top[tile];
    top[thread.row()] = fmaxf(top[thread.row()], max0);
    top[thread.row() + 8] = fmaxf(top[thread.row() + 8], max1);
  }

  // Masks the scores of tokens that do not exist, or that a row does not see, and cleans the values
  // of a tile that not every row sees whole. The producers have made zeros of what does not exist.
  __device__ __forceinline__ void mask_tile(ConsumerState& state, const Loop& loop, int32_t tile,
                                            Side side) const {
    const uint16_t(&valid)[kBufferWarps] = storage.valid[tile & 1];
    const uint32_t low = valid[0] | static_cast<uint32_t>(valid[1]) << kShareTokens;
    const uint32_t high = valid[2] | static_cast<uint32_t>(valid[3]) << kShareTokens;
    if ((low & high) != ~0u) mask_missing(state, low, high);
    if (params.causal || params.window > 0) mask_rows(state, loop, tile, side);
  }

  __device__ __forceinline__ void mask_missing(ConsumerState& state, uint32_t low,
                                               uint32_t high) const {
    const int shift = 2 * (thread.lane & 3);
#pragma unroll
    for (int n = 0; n < 8; ++n) {
      const uint32_t bits = (n < 4 ? low : high) >> shift;
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const bool exists = (bits >> (8 * (n % 4) + e) & 1u) != 0;
        state.s[4 * n + e] = exists ? state.s[4 * n + e] : -INFINITY;
        state.s[4 * n + 2 + e] = exists ? state.s[4 * n + 2 + e] : -INFINITY;
      }
    }
  }

  __device__ __forceinline__ void mask_rows(ConsumerState& state, const Loop& loop, int32_t tile,
                                            Side side) const {
    const PieceWork& piece = storage.piece[loop.piece.slot()];
    const int32_t begin = piece.item.origin + (piece.tile_begin + tile) * kTileTokens;
    if (begin >= piece.sight_begin && begin + kTileTokens <= piece.sight_end) return;
    const ConsumerThread here = thread.apart();
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int32_t packed = piece.row_tile * kTileRows + here.row() + 8 * r;
      const RowSight sight = sight_of<Config>(params, piece.item, params.group.divide(packed));
#pragma unroll
      for (int n = 0; n < 8; ++n) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const int32_t token = begin + 8 * n + 2 * (here.lane & 3) + e;
          const bool seen = token >= sight.begin && token < sight.end;
          float& score = state.s[4 * n + 2 * r + e];
          score = seen ? score : -INFINITY;
        }
      }
    }
    const NamedBarrier barrier = side == Side::kLeft ? kLeftScrub : kRightScrub;
    if (scrub_values<Config>(shared.kv(tile & 1), 0, kTileTokens, barrier)) {
      storage.not_finite[loop.piece.slot()][static_cast<int>(side)] = loop.piece.number() + 1;
    }
  }

  // ---- queries

  // Starts to bring the rows of the worker's piece k, and describes it: when nobody scores any
  // more (Epilogue::join).
  __device__ __forceinline__ void begin_queries(int32_t k) const {
    const PieceWork piece = read_piece<Config>(params, storage.work, k);
    const int consumer = static_cast<int>(ptx::opaque(threadIdx.x));
    if (consumer == 0) {
      storage.piece[k % 2] = piece;
      if (piece.stale) *params.fault = gpu::Fault::kStaleSchedule;
    }
    const bool plain = params.q_unit == kChunkBytes && params.q_factor == 1.0F;
    const int chunk = consumer % kBoxChunks;
#pragma unroll 1
    for (int row = consumer / kBoxChunks; row < kTileRows; row += kConsumerThreads / kBoxChunks) {
      const QueryRow query = query_row(params, piece.item, piece.row_tile * kTileRows + row);
      const bool valid = query.first != nullptr;
      const uint16_t* none = static_cast<const uint16_t*>(params.q);
      uint32_t to =
          shared.q() + static_cast<uint32_t>(row * (kBoxColumns * 2) + ((chunk ^ (row & 7)) << 4));
#pragma unroll 1
      for (int column = chunk * (kChunkBytes / 2); column < Config::kQkColumns;
           column += kBoxColumns, to += sizeof(Box)) {
        const uint16_t* from = valid ? query.at(params, column) : none;
        if (plain) {
          ptx::copy_async_16(to, from, valid);
        } else {
          copy_elements(to, from, valid);
        }
      }
    }
  }

  // A chunk of any address, times the factor.
  __device__ __forceinline__ void copy_elements(uint32_t to, const uint16_t* from,
                                                bool valid) const {
    using Element = typename Config::Element;
#pragma unroll 1
    for (int i = 0; i < kChunkBytes / 4; ++i) {
      uint32_t pair = 0;
      if (valid) {
        const float2 values = {ptx::unpack<Element>(from[2 * i]).x,
                               ptx::unpack<Element>(from[2 * i + 1]).x};
        pair = ptx::pack<Element>(values.x * params.q_factor, values.y * params.q_factor);
      }
      ptx::store_shared_4(to + 4 * i, pair);
    }
  }

  // Until the piece's queries are there, and both warpgroups are at it.
  __device__ __forceinline__ void open_piece(Loop& loop) const {
    ptx::copy_async_wait_all();
    ptx::fence_async_proxy();
    wait_for_fact(kQueriesReady);
    const PieceWork& piece = storage.piece[loop.piece.slot()];
    loop.num_tiles = piece.tile_end - piece.tile_begin;
  }

  __device__ __forceinline__ void clear_maxima(Side side) const {
    if (thread.lane % 4 != 0) return;
    storage.top[static_cast<int>(side)][thread.row()] = -INFINITY;
    storage.top[static_cast<int>(side)][thread.row() + 8] = -INFINITY;
  }

  // A worker's pieces. One code for both warpgroups: it has to come through the instruction caches.
  __device__ __forceinline__ void run(Side side) const {
    const auto num_pieces = static_cast<uint32_t>(storage.work.num_pieces);
    if (num_pieces == 0) return;
    ConsumerState state;
    Loop loop;
    begin_queries(0);
#pragma unroll 1
    for (; loop.piece.number() < num_pieces; loop.piece.advance()) {
      open_piece(loop);
      note(loop, gpu::Mark::kOpened);
      clear_maxima(side);
      Base::clear(state);
      this->tiles(state, loop, side);
      note(loop, gpu::Mark::kTilesDone);
      const Epilogue<Config> epilogue = {params, storage, storage.piece[loop.piece.slot()],
                                         thread.apart(), side};
      const RowTotals totals = epilogue.join(state);
      if (loop.piece.number() + 1 < num_pieces) {
        begin_queries(static_cast<int32_t>(loop.piece.number()) + 1);
      }
      epilogue.run(state, totals, loop.piece);
      note(loop, gpu::Mark::kFinished);
    }
  }
};

}  // namespace seesaw::attention::sm90
