// The score warpgroup: scores, softmax and P of every tile. The steps are those of README.md.
#pragma once

#include "gpu/marks.cuh"
#include "ops/dense_decode/sm90/mask.cuh"
#include "ops/dense_decode/sm90/three/loader.cuh"
#include "ops/dense_decode/sm90/three/queries.cuh"

namespace seesaw::dense_decode::sm90::three {

// A thread's registers, kept from tile to tile.
struct ScoreState {
  QueryFragments q;
  float s[32];             // scores of its two rows of the tile
  float frame[2], sum[2];  // of its rows; sums are this thread's part
  // The thread's number. While tiles are scored it is kept: to read it between scores and softmax
  // costs tens of cycles each time.
  unsigned thread;
  gpu::RingTurn<kStages> kv;       // the tile, or a piece's queries
  gpu::Turn tile;                  // of all pieces
  gpu::RingTurn<kProbSlots> prob;  // where its probabilities go

  __device__ __forceinline__ ConsumerThread here() const {
    return {static_cast<int>(thread / 32), static_cast<int>(thread % 32)};
  }

  // A slot of P for every tile, and one for the end of every piece.
  __device__ __forceinline__ int32_t piece() const {
    return static_cast<int32_t>(prob.number() - tile.number());
  }
};

template <typename Config>
struct Scores {
  using Element = typename Config::Element;
  using Mma = ptx::Wgmma<Element, kTileTokens>;

  const DenseDecodeParams& params;
  const SharedAddresses shared;  // from a register: ptxas (13.0.88) would compute it anew
  SharedStorage& storage;

  __device__ __forceinline__ Scores(const DenseDecodeParams& params_of_launch,
                                    const SharedAddresses& addresses)
      : params(params_of_launch),
        shared(ptx::opaque(addresses.base)),
        storage(ptx::shared_object<SharedStorage>(shared.base)) {}

  // The calling thread's place, computed where it is used: while queries are loaded, registers are
  // few.
  static __device__ __forceinline__ ConsumerThread here() {
    const auto thread = static_cast<unsigned>(ptx::thread_index());
    return {static_cast<int>(thread / 32), static_cast<int>(thread % 32)};
  }
  static __device__ __forceinline__ bool first_thread() { return ptx::thread_index() == 0; }

  __device__ __forceinline__ void run() const {
    ScoreState state;
#pragma unroll 1
    while (state.piece() < storage.work.num_pieces) {
      open_piece(state);
      const int32_t piece = state.piece();
      gpu::mark<Config>(piece, gpu::Mark::kOpened);
      const int32_t num_tiles = storage.piece.num_tiles;
      const int32_t masked_tile = storage.piece.masked_tile;
#pragma unroll 1
      for (int32_t tile = 0; tile < num_tiles; ++tile) {
        score_tile(state, tile, num_tiles, masked_tile);
        if (tile == 0) gpu::mark<Config>(piece, gpu::Mark::kScored);
        if (tile == 1) gpu::mark<Config>(piece, gpu::Mark::kFirstPair);
      }
      gpu::mark<Config>(piece, gpu::Mark::kTilesDone);
      end_piece(state);
      gpu::mark<Config>(piece, gpu::Mark::kFinished);
    }
  }

  // [1] What the piece is, and its queries.
  __device__ __forceinline__ void open_piece(ScoreState& state) const {
    ptx::barrier_sync(kQueriesThere, kWarpgroupThreads);  // nobody uses the last piece's
    if (first_thread()) {
      storage.piece = read_piece(params, storage.work, storage.work.piece_at(state.piece()));
    }
    ptx::barrier_sync(kPieceKnown, kWarpgroupThreads);
    if (storage.piece.num_tiles > 0) load_piece_queries(state);
    ptx::barrier_sync(kQueriesThere, kWarpgroupThreads);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      state.frame[r] = gpu::kEmptyFrame;
      state.sum[r] = 0.0F;
    }
    // By a shuffle, as ptxas (13.0.88) reads threadIdx.x anew whenever it can.
    state.thread = __shfl_sync(~0u, threadIdx.x, static_cast<int>(threadIdx.x % 32));
  }

  __device__ __forceinline__ void load_piece_queries(ScoreState& state) const {
    if (params.q_by_tma) {
      const int stage = state.kv.slot();
      for (int half = 0; half < kHalves; ++half) {
        shared.kv_full(stage, half).wait_warp(state.kv.turn());
      }
      load_queries(state.q, shared.kv(stage, 0), here());
    } else {
      QueryLoader<Config>(params, shared, storage.work.kv_head, here(), storage.piece.sequence,
                          storage.piece.row_tile)
          .load(state.q);
    }
    store_last(shared, state.q, here());
    ptx::fence_async_proxy();
    if (params.q_by_tma) {
      const int stage = state.kv.slot();
      for (int half = 0; half < kHalves; ++half) {
        shared.kv_empty(stage, half).release(here().lane);
      }
      state.kv.advance();
    }
    const bool asked = state.tile.number() == 0;  // by the loader, at the start
    if (Config::kHasRotaryBox && first_thread() && !asked) {
      bring_rotary(state.kv, state.tile, state.piece());
    }
  }

  // The rotary box of a piece's first or second tile, while the output warpgroups may be at the end
  // of the piece before.
  __device__ __forceinline__ void bring_rotary(gpu::RingTurn<kStages> kv, gpu::Turn tile,
                                               int32_t piece_of_queries = -1) const {
    shared.kv_full(kv.slot(), 0).wait(kv.turn());  // so its place is known
    load_rotary(params, shared, storage, kv, tile, piece_of_queries);
  }

  __device__ __forceinline__ void score_tile(ScoreState& state, int32_t tile, int32_t num_tiles,
                                             int32_t masked_tile) const {
    const uint32_t number = state.tile.number();
    gpu::mark_tile<Config>(number, gpu::TileMark::kBegun);
    issue_scores(state);
    if (tile > 0) let_output_go(state, state.prob.slot() ^ 1);
    shared.prob_empty(state.prob.slot()).wait_warp(state.prob.turn());
    if (state.thread == 0) describe(state, tile, num_tiles, masked_tile);
    const uint32_t p = ptx::opaque(fragment_address(shared.p(state.prob.slot()), state.here(), 0));
    ptx::wgmma_wait<0>();
    ptx::pin(state.s);
    gpu::mark_tile<Config>(number, gpu::TileMark::kScored);
    if constexpr (Config::kHasRotaryBox) release_rotary(state, tile);
    if (tile >= masked_tile) mask(state, tile);
    move_frames(state);
    store_probabilities(state, p);
    gpu::mark_tile<Config>(number, gpu::TileMark::kPStored);
    state_handed_over(state.prob.slot());
    state.kv.advance();
    state.tile.advance();
    state.prob.advance();
    if (tile + 1 == num_tiles) let_output_go(state, state.prob.slot() ^ 1);
  }

  // [2] S = Q K^T, the boxes as they land.
  __device__ __forceinline__ void issue_scores(ScoreState& state) const {
    const int stage = state.kv.slot();
    const uint32_t k = ptx::opaque(ptx::descriptor_k_major(shared.kv())) +
                       stage * (kValueBoxes * static_cast<int>(kBoxStep));
#pragma unroll
    for (int step = 0; step < kQuerySteps; ++step) {
      constexpr int kHalfSteps = kQuerySteps / kHalves;
      if (step % kHalfSteps == 0) {
        shared.kv_full(stage, step / kHalfSteps).wait_warp(state.kv.turn());
        ptx::wgmma_fence();
      }
      const uint32_t at = k + step / kStepsOfBox * kBoxStep + step % kStepsOfBox * ptx::kStepKMajor;
      if (step < kRegisterSteps) {
        Mma::rs(state.s, state.q.word + step * kStepWords, at, step > 0);
      } else {
        Mma::template ss<ptx::kPlainHigh>(state.s, ptx::descriptor_plain(shared.q_last()), at,
                                          true);
      }
    }
    if constexpr (Config::kHasRotaryBox) issue_rotary_scores(state);
    ptx::wgmma_commit();
  }
  __device__ __forceinline__ void issue_rotary_scores(ScoreState& state) const {
    const uint32_t q = ptx::opaque(ptx::descriptor_k_major(shared.q_rotary()));
    const uint32_t k = ptx::opaque(ptx::descriptor_k_major(shared.kv_rotary()));
    shared.rotary_full().wait_warp(state.tile);
    ptx::wgmma_fence();
#pragma unroll
    for (int step = 0; step < kStepsOfBox; ++step) {
      Mma::ss(state.s, q + step * ptx::kStepKMajor, k + step * ptx::kStepKMajor, true);
    }
  }

  // [3] The output warpgroups may multiply the tile in `slot`: the next tile's scores, which would
  // come off badly beside their products, are issued, or there are none.
  static __device__ __forceinline__ void let_output_go(const ScoreState& state, int slot) {
    constexpr int kThreadsThere = kWarpgroupThreads + 32;
    if (state.thread >= 32) return;
    for (int half = 0; half < kHalves; ++half) {
      ptx::barrier_arrive(kScoresAhead + 2 * slot + half, kThreadsThere);
    }
  }

  __device__ __forceinline__ void release_rotary(const ScoreState& state, int32_t tile) const {
    shared.rotary_empty().release(state.here().lane);
    if (tile == 0 && storage.piece.num_tiles > 1 && state.thread == 0) {
      bring_rotary(gpu::RingTurn<kStages>(state.kv.number() + 1),
                   gpu::Turn(state.tile.number() + 1));
    }
  }

  // What the output warpgroups need to know of a tile.
  __device__ __forceinline__ void describe(const ScoreState& state, int32_t tile, int32_t num_tiles,
                                           int32_t masked_tile) const {
    Handover& handover = storage.handover[state.prob.slot()];
    handover.tiles_left = num_tiles - 1 - tile;
    handover.filling = state.kv.number();
    handover.tile = state.tile.number();
    handover.behind_queries = tile == 0 && params.q_by_tma;
    handover.scrub_begin = kTileTokens;
    if (tile < masked_tile) return;
    const int32_t token_begin = storage.piece.token_begin + tile * kTileTokens;
    const PieceMask rows = piece_mask(params, storage.piece.row_tile, 0, storage.piece.seq_len);
    handover.scrub_begin = max(rows.least - token_begin, 0);
    handover.scrub_end = rows.seq_len - token_begin;
  }

  // [4] Scores that a row does not see become -inf.
  __device__ __forceinline__ void mask(ScoreState& state, int32_t tile) const {
    const ConsumerThread thread = state.here();
    const int32_t token_begin = storage.piece.token_begin + tile * kTileTokens;
    const PieceMask rows =
        piece_mask(params, storage.piece.row_tile, thread.row(), storage.piece.seq_len);
    gpu::mask_scores(state.s, thread.lane, rows.visible0 - token_begin,
                     rows.visible1 - token_begin);
  }

  // [5] Moves the frames of the thread's rows if the tile's maxima ask for it, and publishes
  // whether any of the warp's has, and what takes older results into them.
  __device__ __forceinline__ void move_frames(ScoreState& state) const {
    float frame[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      frame[r] = gpu::next_frame(state.frame[r], gpu::row_max(state.s, r) * params.scale_log2);
    }
    const bool moved =
        __any_sync(~0u, frame[0] != state.frame[0] || frame[1] != state.frame[1]) != 0;
    const int slot = state.prob.slot();
    const ConsumerThread thread = state.here();
    if (thread.lane == 0) storage.handover[slot].moved[thread.warp] = moved;
    if (!moved) return;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float factor = ptx::exp2_approx(state.frame[r] - frame[r]);
      if (thread.lane % 4 == 0) {
        storage.scale[slot][thread.row() + 8 * r] = factor;
      }
      state.frame[r] = frame[r];
      state.sum[r] *= factor;
    }
  }

  // [6] P = 2^(S - frame), to shared memory: 16 tokens at a time. `to`: the first of the thread's
  // fragments.
  __device__ __forceinline__ void store_probabilities(ScoreState& state, uint32_t to) const {
#pragma unroll
    for (int step = 0; step < kStepsOfBox; ++step) {
      uint32_t p[kStepWords];
#pragma unroll
      for (int i = 0; i < kStepWords; ++i) {
        const int at = 8 * step + 2 * i;
        const int r = i % 2;
        const float a = ptx::exp2_approx(fmaf(state.s[at], params.scale_log2, -state.frame[r]));
        const float b = ptx::exp2_approx(fmaf(state.s[at + 1], params.scale_log2, -state.frame[r]));
        state.sum[r] += a + b;
        p[i] = ptx::pack<Element>(a, b);
      }
      ptx::store_matrix(to ^ (step * 32), p);
    }
    ptx::fence_async_proxy();
  }

  static __device__ __forceinline__ void state_handed_over(int slot) {
    for (int half = 0; half < kHalves; ++half) {
      ptx::barrier_arrive(kHandedOver + 2 * slot + half, kConsumerThreads);
    }
  }

  // [9] The piece's sums and frames, as if they were another tile.
  __device__ __forceinline__ void end_piece(ScoreState& state) const {
    const int slot = state.prob.slot();
    shared.prob_empty(slot).wait_warp(state.prob.turn());
    PieceEnd& end = storage.prob[slot].end;
    const ConsumerThread thread = here();
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float sum = gpu::quad_sum(state.sum[r]);
      if (thread.lane % 4 == 0) {
        end.sum[thread.row() + 8 * r] = sum;
        end.frame[thread.row() + 8 * r] = state.frame[r];
      }
    }
    if (first_thread()) {
      end.piece = storage.piece;
      storage.handover[slot].tiles_left = kPieceEnd;
    }
    state_handed_over(slot);
    state.prob.advance();
  }
};

}  // namespace seesaw::dense_decode::sm90::three
