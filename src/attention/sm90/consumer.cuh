// A consumer warpgroup: the tiles of the pieces of its worker.
#pragma once

#include "attention/sm90/epilogue.cuh"
#include "attention/sm90/queries.cuh"
#include "attention/sm90/tiles_in_turn.cuh"
#include "gpu/marks.cuh"

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
    const uint16_t(&valid)[kBufferWarps] = storage.tiles.valid[tile & 1];
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
    const PieceWork& piece = storage.pieces.piece[loop.piece.slot()];
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
      storage.pieces.not_finite[loop.piece.slot()][static_cast<int>(side)] =
          loop.piece.number() + 1;
    }
  }

  __device__ __forceinline__ void clear_maxima(Side side) const {
    if (thread.lane % 4 != 0) return;
    storage.top[static_cast<int>(side)][thread.row()] = -INFINITY;
    storage.top[static_cast<int>(side)][thread.row() + 8] = -INFINITY;
  }

  // A worker's pieces. One code for both warpgroups: it has to come through the instruction caches.
  __device__ __forceinline__ void run(Side side) const {
    const auto num_pieces = static_cast<uint32_t>(storage.tiles.work.num_pieces);
    if (num_pieces == 0) return;
    ConsumerState state;
    Loop loop;
    const Queries<Config> queries = {params, shared, storage};
    queries.begin(0);
#pragma unroll 1
    for (; loop.piece.number() < num_pieces; loop.piece.advance()) {
      queries.wait();
      const PieceWork& piece = storage.pieces.piece[loop.piece.slot()];
      loop.num_tiles = piece.tile_end - piece.tile_begin;
      note(loop, gpu::Mark::kOpened);
      clear_maxima(side);
      Base::clear(state);
      this->tiles(state, loop, side);
      note(loop, gpu::Mark::kTilesDone);
      const Epilogue<Config> epilogue = {params, storage, piece, thread.apart(), side};
      const RowTotals totals = epilogue.join(state);
      if (loop.piece.number() + 1 < num_pieces) {
        queries.begin(static_cast<int32_t>(loop.piece.number()) + 1);
      }
      epilogue.run(state, totals, loop.piece);
      note(loop, gpu::Mark::kFinished);
    }
  }
};

}  // namespace seesaw::attention::sm90
