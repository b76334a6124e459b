// A consumer warpgroup for few query rows: it attends every other tile of its worker's pieces by
// itself, with swapped operands (swapped_products.cuh) and a softmax of its own, over all columns
// of the output. At the end of a piece the two warpgroups merge what they have.
#pragma once

#include "attention/sm90/queries.cuh"
#include "attention/sm90/swapped_epilogue.cuh"
#include "attention/sm90/swapped_tile.cuh"
#include "gpu/marks.cuh"

namespace seesaw::attention::sm90 {

template <typename Config>
struct SwappedConsumer {
  static constexpr int kRows = Config::kTileRows;
  using State = SwappedState<kRows>;
  using Epilogue = SwappedEpilogue<Config>;
  using Tile = SwappedTile<Config>;

  const Params& params;
  const SharedAddresses<Config>& shared;
  SharedStorage<Config>& storage;
  ConsumerThread thread;

  __device__ SwappedConsumer(const Params& params_of_launch,
                             const SharedAddresses<Config>& addresses, SharedStorage<Config>& plan,
                             ConsumerThread place)
      : params(params_of_launch), shared(addresses), storage(plan), thread(place) {}

  // Where the warpgroup is in the worker's pieces and tiles.
  struct Loop {
    gpu::Turn piece;
    gpu::Turn tile;  // of its own buffer; with a ring, of the block's tiles
  };

  // [1] S^T = K Q^T, the copies of the tile as they land: those of the half that is let go first
  // come first, and the rotary box last.
  __device__ __forceinline__ void score(State& state, const Tile& tile) const {
    constexpr uint32_t kQueryStep = sizeof(RowBox<kRows>) >> 4;
    const uint32_t q = ptx::opaque(ptx::descriptor_k_major(shared.q()));
#pragma unroll 1
    for (int i = 0; i < Config::kKvCopies; ++i) {
      const int half = i / kHalfCopies;
      const int copy = i % kHalfCopies;
      const int column_copy = (i + tile.own * kHalfCopies) % Config::kKvCopies;
      tile.wait_until_full(half, copy);
      issue_swapped_scores<Config, kCopyBoxes>(
          state, ptx::opaque(ptx::descriptor_k_major(tile.half(half) + copy * Tile::kCopyBytes)),
          q + column_copy * kCopyBoxes * kQueryStep, i == 0);
    }
    if constexpr (Config::kHasRotaryBox) {
      issue_swapped_scores<Config, 1>(state, ptx::opaque(ptx::descriptor_k_major(tile.rotary())),
                                      q + kValueBoxes * kQueryStep, false);
    }
    ptx::wgmma_wait<0>();
    ptx::pin(state.s);
  }

  // ---- [2] masks

  __device__ __forceinline__ int token_of_tile(int h) const {
    return 16 * thread.warp + thread.lane / 4 + 8 * h;
  }

  __device__ __forceinline__ void mask_tile(State& state, const Loop& loop, int32_t tile,
                                            const Tile& at) const {
    if constexpr (Config::kRing) {
      mask_rows(state, loop, tile, at);
    } else {
      // The warp's tokens are the share of one of the buffer's producer warps.
      const uint32_t valid = storage.tiles.valid[at.own][thread.warp];
      if (valid != (1u << kShareTokens) - 1) mask_missing(state, valid);
      if (params.causal || params.window > 0) mask_rows(state, loop, tile, at);
    }
  }

  __device__ __forceinline__ void mask_missing(State& state, uint32_t valid) const {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const bool exists = (valid >> (thread.lane / 4 + 8 * h) & 1u) != 0;
#pragma unroll
      for (int i = 0; i < State::kOwnRows; ++i) {
        float& score = state.s[i / 2 * 4 + 2 * h + i % 2];
        score = exists ? score : -INFINITY;
      }
    }
  }

  // What a row does not see of a tile that not every row sees whole, tokens behind the sequence's
  // end among it.
  __device__ __forceinline__ void mask_rows(State& state, const Loop& loop, int32_t tile,
                                            const Tile& at) const {
    const PieceWork& piece = storage.pieces.piece[loop.piece.slot()];
    const int32_t begin = piece.item.origin + (piece.tile_begin + tile) * kTileTokens;
    if (begin >= piece.sight_begin && begin + kTileTokens <= piece.sight_end) return;
#pragma unroll
    for (int i = 0; i < State::kOwnRows; ++i) {
      const int32_t packed = piece.row_tile * kRows + own_row(thread.lane, i);
      const RowSight sight = sight_of<Config>(params, piece.item, params.group.divide(packed));
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int32_t token = begin + token_of_tile(h);
        float& score = state.s[i / 2 * 4 + 2 * h + i % 2];
        score = token >= sight.begin && token < sight.end ? score : -INFINITY;
      }
    }
    const int32_t first = begin < piece.sight_begin ? 0 : max(piece.sight_end - begin, 0);
    if (scrub_tile(at, first, piece.item.length[0] - begin)) {
      storage.pieces.not_finite[loop.piece.slot()][at.own] = loop.piece.number() + 1;
    }
  }

  // scrub_values of a tile in two halves.
  __device__ __forceinline__ bool scrub_tile(const Tile& tile, int first, int end) const {
    ptx::barrier_sync(scrub(tile.own), kWarpgroupThreads);  // every warp's scores are done
    bool changed = false;
#pragma unroll 1
    for (int i = 0; i < kHalves; ++i) {
      changed |= scrub_boxes<Config, kHalfBoxes>(tile.half(i), first, end);
    }
    ptx::barrier_sync(scrub(tile.own), kWarpgroupThreads);  // every thread has written
    return changed;
  }

  // ---- [3] softmax

  // Largest scores of the thread's query rows in the tile, over all four warps' tokens.
  __device__ __forceinline__ void tile_maxima(const State& state, Side side,
                                              float (&largest)[State::kOwnRows]) const {
    float(&maxima)[4][kRows] = storage.maxima[static_cast<int>(side)];
#pragma unroll
    for (int i = 0; i < State::kOwnRows; ++i) {
      const float* score = state.s + i / 2 * 4 + i % 2;
      const float of_warp = max_of_tokens(fmaxf(score[0], score[2]));
      if (thread.lane < 4) maxima[thread.warp][own_row(thread.lane, i)] = of_warp;
    }
    ptx::barrier_sync(maxima_ready(static_cast<int>(side)), kWarpgroupThreads);
#pragma unroll
    for (int i = 0; i < State::kOwnRows; ++i) {
      const int row = own_row(thread.lane, i);
      largest[i] =
          fmaxf(fmaxf(maxima[0][row], maxima[1][row]), fmaxf(maxima[2][row], maxima[3][row]));
      largest[i] *= params.scale_log2;
    }
  }

  __device__ __forceinline__ void note_maxima(Side side,
                                              const float (&largest)[State::kOwnRows]) const {
    if (params.max_logits == nullptr || thread.warp != 0 || thread.lane >= 4) return;
#pragma unroll
    for (int i = 0; i < State::kOwnRows; ++i) {
      float& top = storage.top[static_cast<int>(side)][own_row(thread.lane, i)];
      top = fmaxf(top, largest[i]);
    }
  }
  __device__ __forceinline__ void clear_maxima(Side side) const {
    if (thread.warp != 0 || thread.lane >= 4) return;
#pragma unroll
    for (int i = 0; i < State::kOwnRows; ++i) {
      storage.top[static_cast<int>(side)][own_row(thread.lane, i)] = -INFINITY;
    }
  }

  // Frames move where the tile's maxima ask for it, and older results with them; scores become
  // probabilities.
  __device__ __forceinline__ void softmax(State& state, Side side) const {
    float largest[State::kOwnRows];
    tile_maxima(state, side, largest);
    note_maxima(side, largest);
    float factor[State::kOwnRows];
    bool moved = false;
#pragma unroll
    for (int i = 0; i < State::kOwnRows; ++i) {
      const float old = state.frame[i];
      state.frame[i] = gpu::next_frame(old, largest[i]);
      factor[i] = ptx::exp2_approx(old - state.frame[i]);
      moved |= factor[i] != 1.0F;
      float* score = state.s + i / 2 * 4 + i % 2;
      score[0] = ptx::exp2_approx(fmaf(score[0], params.scale_log2, -state.frame[i]));
      score[2] = ptx::exp2_approx(fmaf(score[2], params.scale_log2, -state.frame[i]));
      state.sum[i] = state.sum[i] * factor[i] + (score[0] + score[2]);
    }
    if (!__any_sync(~0u, moved)) return;
#pragma unroll
    for (auto& part : state.o) {
#pragma unroll
      for (int k = 0; k < kRows / 2; ++k) part[k] *= factor[k / 4 * 2 + k % 2];
    }
  }

  // ---- a tile, a piece

  __device__ __forceinline__ void attend_tile(State& state, Loop& loop, int32_t tile,
                                              Side side) const {
    const int own = static_cast<int>(side);
    const Tile at = {shared, own, loop.tile};
    const uint32_t number = loop.tile.number() / kTileStep;
    gpu::mark_tile<Config>(number, gpu::TileMark::kBegun);
    score(state, at);
    gpu::mark_tile<Config>(number, gpu::TileMark::kScored);
    if (tile == own) note(loop, gpu::Mark::kScored);
    mask_tile(state, loop, tile, at);
    softmax(state, side);
    // [4] P to shared memory
    store_swapped_p<Config>(state, shared.p(own), thread);
    ptx::fence_async_proxy();
    ptx::barrier_sync(p_stored(own), kWarpgroupThreads);
    gpu::mark_tile<Config>(number, gpu::TileMark::kPStored);
    // [5] O^T += V^T P^T, half by half
    const uint32_t p = ptx::opaque(ptx::descriptor_k_major(shared.p(own)));
    issue_swapped_values<Config, 0>(state, values_of(at, 0), p);
    issue_swapped_values<Config, kHalfBoxes>(state, values_of(at, 1), p);
    ptx::wgmma_wait<1>();
    at.release(0, thread.lane);
    ptx::wgmma_wait<0>();
#pragma unroll
    for (auto& part : state.o) ptx::pin(part);
    at.release(1, thread.lane);
    loop.tile = gpu::Turn(loop.tile.number() + kTileStep);
    gpu::mark_tile<Config>(number, gpu::TileMark::kMultiplied);
    if (tile == own) note(loop, gpu::Mark::kFirstPair);
  }

  // From a tile of the warpgroup to its next one, in the numbers of Loop::tile.
  static constexpr uint32_t kTileStep = Config::kRing ? 2 : 1;

  static __device__ __forceinline__ uint32_t values_of(const Tile& tile, int half) {
    return ptx::opaque(ptx::descriptor_mn_major(tile.half(half), sizeof(Box)));
  }

  static __device__ __forceinline__ void note(const Loop& loop, gpu::Mark what) {
    gpu::mark<Config>(static_cast<int>(loop.piece.number()), what);
  }

  // A worker's pieces. One code for both warpgroups.
  __device__ __forceinline__ void run(Side side) const {
    const auto num_pieces = static_cast<uint32_t>(storage.tiles.work.num_pieces);
    if (num_pieces == 0) return;
    const Queries<Config> queries = {params, shared, storage};
    State state;
    Loop loop;
    uint32_t tiles_before = 0;  // of the block, before the piece
    queries.begin(0);
#pragma unroll 1
    for (; loop.piece.number() < num_pieces; loop.piece.advance()) {
      queries.wait();
      note(loop, gpu::Mark::kOpened);
      const PieceWork& piece = storage.pieces.piece[loop.piece.slot()];
      const int32_t num_tiles = piece.tile_end - piece.tile_begin;
      if constexpr (Config::kRing) {
        loop.tile = gpu::Turn(tiles_before + static_cast<uint32_t>(side));
        tiles_before += static_cast<uint32_t>(num_tiles);
      }
      clear_maxima(side);
      state.clear();
#pragma unroll 1
      for (int32_t tile = static_cast<int>(side); tile < num_tiles; tile += 2) {
        attend_tile(state, loop, tile, side);
      }
      note(loop, gpu::Mark::kTilesDone);
      Epilogue epilogue(params, storage, piece, thread, side);
      epilogue.publish(state);
      // Both have left the tiles: the queries' place is free.
      if (loop.piece.number() + 1 < num_pieces) {
        queries.begin(static_cast<int32_t>(loop.piece.number()) + 1);
      }
      epilogue.run(state, loop.piece);
      note(loop, gpu::Mark::kFinished);
    }
  }
};

}  // namespace seesaw::attention::sm90
