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

  // Where a warpgroup is in the worker's stream of tiles.
  struct Loop {
    int32_t num_tiles = 0;    // of the piece
    int32_t masked_tile = 0;  // from this tile on, some row does not see every token
    uint32_t use = 0;         // how often the warpgroup's own KV buffer has been consumed
  };

  // Waits until piece k's queries are there, and reads what the piece is.
  __device__ __forceinline__ void open_piece(Loop& loop, int k) const {
    ptx::mbarrier_wait_warp(shared.q_full(0), k & 1);
    loop.num_tiles = storage.piece[k & 1].num_tiles;
    loop.masked_tile = storage.piece[k & 1].masked_tile;
  }

  static __device__ __forceinline__ void clear(ConsumerState& state) {
#pragma unroll
    for (int i = 0; i < 128; ++i) state.o[i] = 0.0F;
    state.sum0 = 0.0F;
    state.sum1 = 0.0F;
  }

  // Waits for the queries' rotary box of piece k: for every piece, even an empty one. A copy that
  // is still under way when the block ends would land in the next block's shared memory, and a
  // phase that nobody waits for could be mistaken for the one after next (notebook 0007).
  __device__ __forceinline__ void await_rotary_box(int k) const {
    if constexpr (Config::kHasRotaryBox) ptx::mbarrier_wait_warp(shared.q_full(1), k & 1);
  }

  // Masks the scores of a tile that some row does not see whole, and cleans its values.
  __device__ __forceinline__ void mask_tile(ConsumerState& state, int k, int32_t tile,
                                            NamedBarrier barrier) const {
    const PieceInfo& piece = storage.piece[k & 1];
    const ConsumerThread here = thread.apart();
    const int32_t token_begin = piece.token_begin + tile * kTileTokens;
    const PieceMask mask = piece_mask(params, work.row_tile, here.row(), piece.seq_len);
    gpu::mask_scores(state.s, here.lane, mask.visible0 - token_begin, mask.visible1 - token_begin);
    scrub_values<Config>(shared.kv(tile & 1), token_begin, mask, barrier);
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

  // Whether any row of the warp moves: then, and only then, O is touched.
  static __device__ __forceinline__ bool any_moved(float factor0, float factor1) {
    return __any_sync(~0u, factor0 != 1.0F || factor1 != 1.0F);
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
      ptx::mbarrier_wait_warp(shared.kv_full(buffer, copy), loop.use & 1);
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
      ptx::mbarrier_wait_warp(shared.kv_full(own, Config::kRotaryCopy), loop.use & 1);
      issue_scores<Config, kValueBoxes, kValueBoxes + 1>(state, descriptors(own), false);
    }
    ptx::wgmma_wait<0>();
    ptx::pin(state.s);
    ++loop.use;
  }

  // ---- a worker's pieces. One code for both warpgroups but for the loop over tiles, as it runs
  // once a piece and has to come through the instruction caches first.

  __device__ __forceinline__ void run(Side side) const {
    const int num_pieces = work.piece_end - work.piece_begin;
    if (num_pieces == 0) return;
    const int own = static_cast<int>(side);
    ConsumerState state;
    Loop loop;
#pragma unroll 1
    for (int k = 0; k < num_pieces; ++k) {
      open_piece(loop, k);
      mark<Config>(k, Mark::kOpened);
      if (loop.num_tiles > own) {  // [1] and [2] of the first pair
        score_first(state, loop, side);
        await_rotary_box(k);
        keep_rotary_box<Config>(state, shared, thread);
        score_rest(state, loop, side);
      } else {
        await_rotary_box(k);
      }
      clear(state);
      mark<Config>(k, Mark::kScored);
      if (loop.num_tiles <= 2 + own) release(shared.q_empty(0), thread);
      if (side == Side::kLeft) {
        left_tiles(state, loop, k);
      } else {
        right_tiles(state, loop, k);
      }
      mark<Config>(k, Mark::kTilesDone);
      // [12]
      finish_piece<Config>(params, work, storage.piece[k & 1], state, storage, thread.apart(), side,
                           k & 1);
      mark<Config>(k, Mark::kFinished);
    }
  }

  // ---- warpgroup left: scores even tiles, owns columns 0-255 of the output

  __device__ __forceinline__ void left_tiles(ConsumerState& state, Loop& loop, int k) const {
    if (thread.lane % 4 == 0) {
      storage.frame[thread.row()] = gpu::kEmptyFrame;
      storage.frame[thread.row() + 8] = gpu::kEmptyFrame;
    }
    __syncwarp();
#pragma unroll 1
    for (int32_t tile = 0; tile < loop.num_tiles; tile += 2) {
      left_pair(state, loop, k, tile);
      if (tile == 0) mark<Config>(k, Mark::kFirstPair);
    }
    release(shared.q_empty(1), thread);
  }

  __device__ __forceinline__ void left_pair(ConsumerState& state, Loop& loop, int k,
                                            int32_t tile) const {
    const bool second = tile + 1 < loop.num_tiles;
    const uint32_t v = values(Side::kLeft);
    if (tile >= loop.masked_tile) mask_tile(state, k, tile, kLeftScrub);
    const FrameMove move = move_frame(state, 0);              // [3]
    if (tile > 0 && any_moved(move.factor0, move.factor1)) {  // of the first, O is still 0
      gpu::scale_rows(state.o, move.factor0, move.factor1);
    }
    probabilities(state, move, move.factor0, move.factor1);
    ptx::barrier_arrive(kFrame0Ready, kConsumerThreads);
    issue_local_values<Config>(state, v);  // [5]
    ptx::wgmma_wait<0>();
    ptx::pin(state.o);
    release(shared.kv_empty(0, 0), thread);
    ptx::barrier_sync(kFrame1Ready, kConsumerThreads);
    float later0 = 1.0F, later1 = 1.0F;
    if (second) {
      later0 = storage.scale[1][thread.row()];
      later1 = storage.scale[1][thread.row() + 8];
    }
    const bool moved = any_moved(later0, later1);
    // [7]
    if (moved) gpu::repack<typename Config::Element>(state.s, state.p, later0, later1);
    store_p(shared.p(0), thread, state.p);
    ptx::fence_async_proxy();
    ptx::barrier_arrive(kP0Stored, kConsumerThreads);
    if (second) {
      ptx::barrier_sync(kP1Stored, kConsumerThreads);
      if (moved) {  // [9]
        gpu::scale_rows(state.o, later0, later1);
        state.sum0 *= later0;
        state.sum1 *= later1;
      }
      // [10]
      issue_remote_values<Config>(state, ptx::descriptor_k_major(shared.p(1)), v + kBuffer1);
    }
    if (tile + 2 < loop.num_tiles) {  // [1] of the next pair
      score_first(state, loop, Side::kLeft);
      ptx::wgmma_wait<kHalfCopies>();  // the products with tile 1 are done
      release(shared.kv_empty(1, 0), thread);
      score_rest(state, loop, Side::kLeft);
      ptx::pin(state.o);
      if (tile + 4 >= loop.num_tiles) release(shared.q_empty(0), thread);
    } else {
      ptx::wgmma_wait<0>();
      ptx::pin(state.o);
      if (second) release(shared.kv_empty(1, 0), thread);
    }
  }

  // ---- warpgroup right: scores odd tiles, owns columns 256-511 of the output

  __device__ __forceinline__ void right_tiles(ConsumerState& state, Loop& loop, int k) const {
#pragma unroll 1
    for (int32_t tile = 0; tile < loop.num_tiles; tile += 2) {
      right_pair(state, loop, k, tile);
      if (tile == 0) mark<Config>(k, Mark::kFirstPair);
    }
  }

  __device__ __forceinline__ void right_pair(ConsumerState& state, Loop& loop, int k,
                                             int32_t tile) const {
    const bool second = tile + 1 < loop.num_tiles;
    const uint32_t v = values(Side::kRight);
    if (second && tile + 1 >= loop.masked_tile) mask_tile(state, k, tile + 1, kRightScrub);
    ptx::barrier_sync(kFrame0Ready, kConsumerThreads);
    float factor0 = storage.scale[0][thread.row()];
    float factor1 = storage.scale[0][thread.row() + 8];
    FrameMove move{};
    if (second) {
      move = move_frame(state, 1);  // [4]
      factor0 *= move.factor0;
      factor1 *= move.factor1;
      probabilities(state, move, factor0, factor1);
    } else {
      state.sum0 *= factor0;
      state.sum1 *= factor1;
    }
    if (tile > 0 && any_moved(factor0, factor1)) gpu::scale_rows(state.o, factor0, factor1);
    ptx::barrier_arrive(kFrame1Ready, kConsumerThreads);
    if (second) {  // [6]
      store_p(shared.p(1), thread, state.p);
      issue_local_values<Config>(state, v + kBuffer1);
      ptx::fence_async_proxy();
    }
    ptx::barrier_sync(kP0Stored, kConsumerThreads);
    issue_remote_values<Config>(state, ptx::descriptor_k_major(shared.p(0)), v);  // [8]
    if (second) {
      ptx::barrier_arrive(kP1Stored, kConsumerThreads);
      ptx::wgmma_wait<1>();
      release(shared.kv_empty(1, 1), thread);
    }
    ptx::wgmma_wait<0>();
    ptx::pin(state.o);
    release(shared.kv_empty(0, 1), thread);
    if (tile + 3 < loop.num_tiles) {  // [11]: [2] of the next pair
      score_first(state, loop, Side::kRight);
      score_rest(state, loop, Side::kRight);
      if (tile + 5 >= loop.num_tiles) release(shared.q_empty(0), thread);
    }
  }
};

}  // namespace seesaw::dense_decode::sm90
