// The seesaw: two warpgroups, two KV tiles in flight, each scoring one tile and owning one half of
// the output. Step numbers are those of README.md.
#pragma once

#include "ops/dense_decode/sm90/epilogue.cuh"
#include "ops/dense_decode/sm90/marks.cuh"

namespace seesaw::dense_decode::sm90 {

// A consumer warpgroup's view of the kernel.
template <typename Config>
struct Consumer {
  const DenseDecodeParams& params;
  const SharedAddresses<Config>& shared;
  SharedStorage<Config>& storage;
  BlockWork work;
  ConsumerThread thread;

  static constexpr int kBuffer1 = Config::kQkBoxes * kBoxStep;  // from tile 0's boxes to tile 1's

  __device__ __forceinline__ Descriptors descriptors(int buffer) const {
    return {ptx::opaque(ptx::descriptor_k_major(shared.q())),
            ptx::opaque(ptx::descriptor_k_major(shared.kv(buffer)))};
  }
  // The half of V of buffer 0 that `side` multiplies; kBuffer1 further is buffer 1's.
  __device__ __forceinline__ uint32_t values(Side side) const {
    const uint32_t first = shared.kv(0) + static_cast<int>(side) * kHalfBoxes * sizeof(Box);
    return ptx::opaque(ptx::descriptor_mn_major(first, sizeof(Box)));
  }

  // Where a warpgroup is in the worker's stream of pieces and tiles.
  struct Loop {
    gpu::Turn piece;          // queries: a filling a piece
    gpu::Turn tile;           // the warpgroup's own KV buffer: a filling a tile
    int32_t num_tiles = 0;    // of the piece
    int32_t masked_tile = 0;  // from this tile on, some row does not see every token
  };

  // Waits until the piece's queries are there, and reads what the piece is.
  __device__ __forceinline__ void open_piece(Loop& loop) const {
    shared.q_full(0).wait_warp(loop.piece);
    loop.num_tiles = storage.piece[loop.piece.slot()].num_tiles;
    loop.masked_tile = storage.piece[loop.piece.slot()].masked_tile;
  }

  static __device__ __forceinline__ void clear(ConsumerState& state) {
#pragma unroll
    for (int i = 0; i < 128; ++i) state.o[i] = 0.0F;
    state.sum0 = 0.0F;
    state.sum1 = 0.0F;
  }

  // Waits for the queries' rotary box: for every piece, even an empty one. A copy that is still
  // under way when the block ends would land in the next block's shared memory, and a phase that
  // nobody waits for could be mistaken for the one after next (notebook 0007).
  __device__ __forceinline__ void await_rotary_box(const Loop& loop) const {
    if constexpr (Config::kHasRotaryBox) shared.q_full(1).wait_warp(loop.piece);
  }

  // Masks the scores of a tile that some row does not see whole, and cleans its values.
  __device__ __forceinline__ void mask_tile(ConsumerState& state, const Loop& loop, int32_t tile,
                                            Side side) const {
    if (tile < loop.masked_tile) return;
    const NamedBarrier barrier = side == Side::kLeft ? kLeftScrub : kRightScrub;
    const PieceInfo& piece = storage.piece[loop.piece.slot()];
    const ConsumerThread here = thread.apart();
    const int32_t token_begin = piece.token_begin + tile * kTileTokens;
    const PieceMask mask = piece_mask(params, piece.row_tile, here.row(), piece.seq_len);
    gpu::mask_scores(state.s, here.lane, mask.visible0 - token_begin, mask.visible1 - token_begin);
    if (scrub_values<Config>(shared.kv(tile & 1), token_begin, mask, barrier)) {
      storage.not_finite[loop.piece.slot()][static_cast<int>(side)] = loop.piece.number() + 1;
    }
  }

  // Moves the frame of the thread's rows if the tile's maxima ask for it, publishes the frame and
  // the factor that takes older results into it.
  struct FrameMove {
    float frame0, frame1;
    float factor0, factor1;
  };
  __device__ __forceinline__ FrameMove move_frame(const ConsumerState& state, int tile) const {
    const float max0 = gpu::row_max(state.s, 0) * params.scale_log2;
    const float max1 = gpu::row_max(state.s, 1) * params.scale_log2;
    const int row = thread.row();
    const float old0 = storage.frame[row];
    const float old1 = storage.frame[row + 8];
    FrameMove move;
    move.frame0 = gpu::next_frame(old0, max0);
    move.frame1 = gpu::next_frame(old1, max1);
    move.factor0 = ptx::exp2_approx(old0 - move.frame0);
    move.factor1 = ptx::exp2_approx(old1 - move.frame1);
    __syncwarp();  // the row's four lanes have read the old frame
    if (thread.lane % 4 == 0) {
      storage.frame[row] = move.frame0;
      storage.frame[row + 8] = move.frame1;
      storage.scale[tile][row] = move.factor0;
      storage.scale[tile][row + 8] = move.factor1;
    }
    return move;
  }

  // Whether any row of the warp moves: then, and only then, O is touched (a factor of 1 changes
  // nothing).
  static __device__ __forceinline__ bool any_moved(float factor0, float factor1) {
    return __any_sync(~0u, factor0 != 1.0F || factor1 != 1.0F);
  }
  static __device__ __forceinline__ void scale_output(ConsumerState& state, float factor0,
                                                      float factor1) {
    if (any_moved(factor0, factor1)) gpu::scale_rows(state.o, factor0, factor1);
  }

  __device__ __forceinline__ void probabilities(ConsumerState& state, const FrameMove& move,
                                                float factor0, float factor1) const {
    using Element = typename Config::Element;
    state.sum0 = state.sum0 * factor0 + gpu::row_probabilities<Element>(
                                            state.s, state.p, 0, params.scale_log2, move.frame0);
    state.sum1 = state.sum1 * factor1 + gpu::row_probabilities<Element>(
                                            state.s, state.p, 1, params.scale_log2, move.frame1);
  }

  // ---- scores

  // Issues S (+)= Q K^T over `kHalfCopies` copies from `begin` of the tile in `buffer`, each as
  // soon as it has landed. One commit group a copy. A loop, not unrolled: the two warpgroups' code
  // is larger than what the instruction caches hold near them (notebook 0055).
  __device__ __forceinline__ void score_half(ConsumerState& state, const Loop& loop, int buffer,
                                             int begin, bool first) const {
    constexpr uint32_t kCopyStep = kCopyBoxes * kBoxStep;
    Descriptors at = descriptors(buffer);
    at.q += begin * kCopyStep;
    at.kv += begin * kCopyStep;
#pragma unroll 1
    for (int copy = begin; copy < begin + kHalfCopies; ++copy) {
      shared.kv_full(buffer, copy).wait_warp(loop.tile);
      issue_scores<Config, 0, kCopyBoxes>(state, at, first && copy == begin);
      at.q += kCopyStep;
      at.kv += kCopyStep;
    }
  }

  // The halves in the order in which they are released and come: the half that the warpgroup itself
  // multiplies first, the rotary box last, as its queries come last.
  __device__ __forceinline__ void score_first(ConsumerState& state, const Loop& loop,
                                              Side side) const {
    const int own = static_cast<int>(side);
    score_half(state, loop, own, own * kHalfCopies, true);
  }
  __device__ __forceinline__ void score_rest(ConsumerState& state, Loop& loop, Side side) const {
    const int own = static_cast<int>(side);
    score_half(state, loop, own, (1 - own) * kHalfCopies, false);
    if constexpr (Config::kHasRotaryBox) {
      shared.kv_full(own, Config::kRotaryCopy).wait_warp(loop.tile);
      issue_scores<Config, kValueBoxes, kValueBoxes + 1>(state, descriptors(own), false);
    }
    ptx::wgmma_wait<0>();
    ptx::pin(state.s);
    loop.tile.advance();
  }

  // ---- a worker's pieces. One code for both warpgroups but for the loop over tiles, as it runs
  // once a piece and has to come through the instruction caches first.

  __device__ __forceinline__ void run(Side side) const {
    const auto num_pieces = static_cast<uint32_t>(work.num_pieces);
    if (num_pieces == 0) return;
    const int own = static_cast<int>(side);
    ConsumerState state;
    Loop loop;
#pragma unroll 1
    for (; loop.piece.number() < num_pieces; loop.piece.advance()) {
      const auto index = static_cast<int>(loop.piece.number());
      open_piece(loop);
      mark<Config>(index, Mark::kOpened);
      if (loop.num_tiles > own) {  // [1] and [2] of the first pair
        score_first(state, loop, side);
        await_rotary_box(loop);
        keep_rotary_box<Config>(state, shared, thread);
        score_rest(state, loop, side);
      } else {
        await_rotary_box(loop);
      }
      clear(state);
      mark<Config>(index, Mark::kScored);
      if (loop.num_tiles <= 2 + own) shared.q_empty(0).release(thread.lane);
      if (side == Side::kLeft) {
        left_tiles(state, loop);
      } else {
        right_tiles(state, loop);
      }
      mark<Config>(index, Mark::kTilesDone);
      // [12]
      Epilogue<Config>{params, storage, work, thread.apart(), side, loop.piece.slot()}.run(
          state, loop.piece.number());
      mark<Config>(index, Mark::kFinished);
    }
  }

  // Waits for the products under way, and gives their accumulators back.
  static __device__ __forceinline__ void finish_products(ConsumerState& state) {
    ptx::wgmma_wait<0>();
    ptx::pin(state.o);
  }

  // ---- warpgroup left: scores even tiles, owns columns 0-255 of the output

  __device__ __forceinline__ void left_tiles(ConsumerState& state, Loop& loop) const {
    if (thread.lane % 4 == 0) {
      storage.frame[thread.row()] = gpu::kEmptyFrame;
      storage.frame[thread.row() + 8] = gpu::kEmptyFrame;
    }
    __syncwarp();
#pragma unroll 1
    for (int32_t tile = 0; tile < loop.num_tiles; tile += 2) {
      left_pair(state, loop, tile);
      if (tile == 0) mark<Config>(static_cast<int>(loop.piece.number()), Mark::kFirstPair);
    }
    shared.q_empty(1).release(thread.lane);
  }

  __device__ __forceinline__ void left_pair(ConsumerState& state, Loop& loop, int32_t tile) const {
    const bool second = tile + 1 < loop.num_tiles;
    const uint32_t v = values(Side::kLeft);
    // [3] m0 = max(m, rowmax S0), a0 = 2^(m - m0); O_left times a0; P0 = 2^(S0 - m0)
    mask_tile(state, loop, tile, Side::kLeft);
    const FrameMove move = move_frame(state, 0);
    if (tile > 0) scale_output(state, move.factor0, move.factor1);  // before it is still 0
    probabilities(state, move, move.factor0, move.factor1);
    state_fact(kFrame0Ready);
    // [5] O_left += P0 V0_left
    issue_local_values<Config>(state, v);
    finish_products(state);
    shared.kv_empty(0, 0).release(thread.lane);
    // [7] P0 times a1, to shared memory
    wait_for_fact(kFrame1Ready);
    float later0 = 1.0F, later1 = 1.0F;
    if (second) {
      later0 = storage.scale[1][thread.row()];
      later1 = storage.scale[1][thread.row() + 8];
    }
    const bool moved = any_moved(later0, later1);
    if (moved) gpu::repack<typename Config::Element>(state.s, state.p, later0, later1);
    store_p(shared.p(0), thread, state.p);
    ptx::fence_async_proxy();
    state_fact(kP0Stored);
    if (second) {
      wait_for_fact(kP1Stored);
      // [9] O_left and its sum times a1
      if (moved) {
        gpu::scale_rows(state.o, later0, later1);
        state.sum0 *= later0;
        state.sum1 *= later1;
      }
      // [10] O_left += P1 V1_left
      issue_remote_values<Config>(state, ptx::descriptor_k_major(shared.p(1)), v + kBuffer1);
    }
    if (tile + 2 < loop.num_tiles) {
      // [1] of the next pair, behind [10]
      score_first(state, loop, Side::kLeft);
      ptx::wgmma_wait<kHalfCopies>();  // [10] is done
      shared.kv_empty(1, 0).release(thread.lane);
      score_rest(state, loop, Side::kLeft);
      ptx::pin(state.o);
      if (tile + 4 >= loop.num_tiles) shared.q_empty(0).release(thread.lane);
    } else {
      finish_products(state);
      if (second) shared.kv_empty(1, 0).release(thread.lane);
    }
  }

  // ---- warpgroup right: scores odd tiles, owns columns 256-511 of the output

  __device__ __forceinline__ void right_tiles(ConsumerState& state, Loop& loop) const {
#pragma unroll 1
    for (int32_t tile = 0; tile < loop.num_tiles; tile += 2) {
      right_pair(state, loop, tile);
      if (tile == 0) mark<Config>(static_cast<int>(loop.piece.number()), Mark::kFirstPair);
    }
  }

  __device__ __forceinline__ void right_pair(ConsumerState& state, Loop& loop, int32_t tile) const {
    const bool second = tile + 1 < loop.num_tiles;
    const uint32_t v = values(Side::kRight);
    // [4] m1 = max(m0, rowmax S1), a1 = 2^(m0 - m1); P1 = 2^(S1 - m1); O_right times a0 a1
    if (second) mask_tile(state, loop, tile + 1, Side::kRight);
    wait_for_fact(kFrame0Ready);
    float factor0 = storage.scale[0][thread.row()];
    float factor1 = storage.scale[0][thread.row() + 8];
    if (second) {
      const FrameMove move = move_frame(state, 1);
      factor0 *= move.factor0;
      factor1 *= move.factor1;
      probabilities(state, move, factor0, factor1);
    } else {  // tile 0 is the last: follow its frame
      state.sum0 *= factor0;
      state.sum1 *= factor1;
    }
    if (tile > 0) scale_output(state, factor0, factor1);
    state_fact(kFrame1Ready);
    // [6] P1 to shared memory; O_right += P1 V1_right
    if (second) {
      store_p(shared.p(1), thread, state.p);
      issue_local_values<Config>(state, v + kBuffer1);
      ptx::fence_async_proxy();
    }
    // [8] O_right += P0 V0_right
    wait_for_fact(kP0Stored);
    issue_remote_values<Config>(state, ptx::descriptor_k_major(shared.p(0)), v);
    if (second) {
      state_fact(kP1Stored);
      ptx::wgmma_wait<1>();  // [6] is done
      shared.kv_empty(1, 1).release(thread.lane);
    }
    finish_products(state);
    shared.kv_empty(0, 1).release(thread.lane);
    // [11] [2] of the next pair
    if (tile + 3 < loop.num_tiles) {
      score_first(state, loop, Side::kRight);
      score_rest(state, loop, Side::kRight);
      if (tile + 5 >= loop.num_tiles) shared.q_empty(0).release(thread.lane);
    }
  }
};

}  // namespace seesaw::dense_decode::sm90
