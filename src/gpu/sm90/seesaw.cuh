// The seesaw: two warpgroups, two KV tiles in flight, each scoring one tile and owning one half of
// the output. The steps [1] to [11] are those of ops/dense_decode/sm90/README.md.
#pragma once

#include "gpu/pipeline.cuh"
#include "gpu/sm90/products.cuh"

namespace seesaw::gpu::sm90 {

// What a consumer warpgroup does with the tiles of a piece. A kernel's Consumer derives from it and
// has shared (addresses: q(), kv(buffer), p(tile), kv_full(buffer, copy), kv_empty(buffer, half)),
// storage (frame[64], scale[2][64]), thread (its place), scale_log2() of the scores, and
//
//   mask_tile(state, loop, tile, side)
//       scores that a row does not see become -inf, and the values are cleaned
//
//   note_maxima(tile, max0, max1)
//       of the thread's two rows in tile 0 or 1 of a pair
//
//   release_queries(), first_pair_done(loop)
//       the warpgroup's last scores of the piece are done; its first pair is
//
// Config::kRotaryCopy: the copy that brings the rotary box; -1: those of the boxes scored before
// it.
//
// Config::kReleasesFirst: whether a tile's values are waited for and let go before the next scores
// are asked for, which might have to wait for their tile; if not, beside them.
//
// Config::kKeepsScores: whether registers hold the probabilities as floats until P is stored. If
// not, frames are whole numbers.
template <typename Derived, typename Config>
struct Seesaw {
  __device__ __forceinline__ const Derived& self() const {
    return static_cast<const Derived&>(*this);
  }

  static constexpr int kBuffer1 = Config::kQkBoxes * kBoxStep;  // from tile 0's boxes to tile 1's

  __device__ __forceinline__ Descriptors descriptors(int buffer) const {
    return {ptx::opaque(ptx::descriptor_k_major(self().shared.q())),
            ptx::opaque(ptx::descriptor_k_major(self().shared.kv(buffer)))};
  }
  // The half of V of buffer 0 that `side` multiplies; kBuffer1 further is buffer 1's.
  __device__ __forceinline__ uint32_t values(Side side) const {
    const uint32_t first = self().shared.kv(0) + static_cast<int>(side) * kHalfBoxes * sizeof(Box);
    return ptx::opaque(ptx::descriptor_mn_major(first, sizeof(Box)));
  }

  // Where a warpgroup is in the worker's stream of pieces and tiles.
  struct Loop {
    gpu::Turn piece;          // queries: a filling a piece
    gpu::Turn tile;           // the warpgroup's own KV buffer: a filling a tile
    int32_t num_tiles = 0;    // of the piece
    int32_t masked_tile = 0;  // from this tile on, some row does not see every token
  };

  static __device__ __forceinline__ void clear(ConsumerState& state) {
#pragma unroll
    for (int i = 0; i < 128; ++i) state.o[i] = 0.0F;
    state.sum0 = 0.0F;
    state.sum1 = 0.0F;
  }

  // Moves the frame of the thread's rows if the tile's maxima ask for it, publishes the frame and
  // the factor that takes older results into it.
  struct FrameMove {
    float frame0, frame1;
    float factor0, factor1;
  };
  __device__ __forceinline__ FrameMove move_frame(const ConsumerState& state, int tile) const {
    const float max0 = gpu::row_max(state.s, 0) * self().scale_log2();
    const float max1 = gpu::row_max(state.s, 1) * self().scale_log2();
    self().note_maxima(tile, max0, max1);
    const int row = self().thread.row();
    const float old0 = self().storage.frame[row];
    const float old1 = self().storage.frame[row + 8];
    FrameMove move;
    move.frame0 = next_frame(old0, max0);
    move.frame1 = next_frame(old1, max1);
    move.factor0 = ptx::exp2_approx(old0 - move.frame0);
    move.factor1 = ptx::exp2_approx(old1 - move.frame1);
    __syncwarp();  // the row's four lanes have read the old frame
    if (self().thread.lane % 4 == 0) {
      self().storage.frame[row] = move.frame0;
      self().storage.frame[row + 8] = move.frame1;
      self().storage.scale[tile][row] = move.factor0;
      self().storage.scale[tile][row + 8] = move.factor1;
    }
    return move;
  }

  static __device__ __forceinline__ float next_frame(float frame, float tile_max_log2) {
    if constexpr (Config::kKeepsScores) {
      return gpu::next_frame(frame, tile_max_log2);
    } else {
      return gpu::next_whole_frame(frame, tile_max_log2);
    }
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

  // P to another frame: from the floats, or where they are not kept by powers of two, which is as
  // exact.
  static __device__ __forceinline__ void move_probabilities(ConsumerState& state, float factor0,
                                                            float factor1) {
    if constexpr (Config::kKeepsScores) {
      gpu::repack<typename Config::Element>(state.s, state.p, factor0, factor1);
    } else {
      gpu::scale_packed<typename Config::Element>(state.p, factor0, factor1);
    }
  }

  __device__ __forceinline__ void probabilities(ConsumerState& state, const FrameMove& move,
                                                float factor0, float factor1) const {
    using Element = typename Config::Element;
    state.sum0 = state.sum0 * factor0 + gpu::row_probabilities<Element>(
                                            state.s, state.p, 0, self().scale_log2(), move.frame0);
    state.sum1 = state.sum1 * factor1 + gpu::row_probabilities<Element>(
                                            state.s, state.p, 1, self().scale_log2(), move.frame1);
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
      self().shared.kv_full(buffer, copy).wait_warp(loop.tile);
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
      if constexpr (Config::kRotaryCopy >= 0) {
        self().shared.kv_full(own, Config::kRotaryCopy).wait_warp(loop.tile);
      }
      issue_scores<Config, kValueBoxes, kValueBoxes + 1>(state, descriptors(own), false);
    }
    ptx::wgmma_wait<0>();
    ptx::pin(state.s);
    loop.tile.advance();
  }

  // Waits for the products under way, and gives their accumulators back.
  static __device__ __forceinline__ void finish_products(ConsumerState& state) {
    ptx::wgmma_wait<0>();
    ptx::pin(state.o);
  }

  // ---- warpgroup left: scores even tiles, owns columns 0-255 of the output

  __device__ __forceinline__ void left_tiles(ConsumerState& state, Loop& loop) const {
    if (self().thread.lane % 4 == 0) {
      self().storage.frame[self().thread.row()] = gpu::kEmptyFrame;
      self().storage.frame[self().thread.row() + 8] = gpu::kEmptyFrame;
    }
    __syncwarp();
#pragma unroll 1
    for (int32_t tile = 0; tile < loop.num_tiles; tile += 2) {
      left_pair(state, loop, tile);
      if (tile == 0) self().first_pair_done(loop);
    }
  }

  __device__ __forceinline__ void left_pair(ConsumerState& state, Loop& loop, int32_t tile) const {
    const bool second = tile + 1 < loop.num_tiles;
    const uint32_t v = values(Side::kLeft);
    // [3] m0 = max(m, rowmax S0), a0 = 2^(m - m0); O_left times a0; P0 = 2^(S0 - m0)
    self().mask_tile(state, loop, tile, Side::kLeft);
    const FrameMove move = move_frame(state, 0);
    if (tile > 0) scale_output(state, move.factor0, move.factor1);  // before it is still 0
    probabilities(state, move, move.factor0, move.factor1);
    state_fact(kFrame0Ready);
    // [5] O_left += P0 V0_left
    issue_local_values<Config>(state, v);
    finish_products(state);
    self().shared.kv_empty(0, 0).release(self().thread.lane);
    // [7] P0 times a1, to shared memory
    wait_for_fact(kFrame1Ready);
    float later0 = 1.0F, later1 = 1.0F;
    if (second) {
      later0 = self().storage.scale[1][self().thread.row()];
      later1 = self().storage.scale[1][self().thread.row() + 8];
    }
    const bool moved = any_moved(later0, later1);
    if (moved) move_probabilities(state, later0, later1);
    store_p(self().shared.p(0), self().thread, state.p);
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
      issue_remote_values<Config>(state, ptx::descriptor_k_major(self().shared.p(1)), v + kBuffer1);
    }
    const bool more = tile + 2 < loop.num_tiles;
    if (Config::kReleasesFirst || !more) {
      finish_products(state);
      if (second) self().shared.kv_empty(1, 0).release(self().thread.lane);
    }
    if (more) {
      // [1] of the next pair, behind [10]
      score_first(state, loop, Side::kLeft);
      if constexpr (!Config::kReleasesFirst) {
        ptx::wgmma_wait<kHalfCopies>();  // [10] is done
        self().shared.kv_empty(1, 0).release(self().thread.lane);
      }
      score_rest(state, loop, Side::kLeft);
      ptx::pin(state.o);
      if (tile + 4 >= loop.num_tiles) self().release_queries();
    }
  }

  // ---- warpgroup right: scores odd tiles, owns columns 256-511 of the output

  __device__ __forceinline__ void right_tiles(ConsumerState& state, Loop& loop) const {
#pragma unroll 1
    for (int32_t tile = 0; tile < loop.num_tiles; tile += 2) {
      right_pair(state, loop, tile);
      if (tile == 0) self().first_pair_done(loop);
    }
  }

  __device__ __forceinline__ void right_pair(ConsumerState& state, Loop& loop, int32_t tile) const {
    const bool second = tile + 1 < loop.num_tiles;
    const uint32_t v = values(Side::kRight);
    // [4] m1 = max(m0, rowmax S1), a1 = 2^(m0 - m1); P1 = 2^(S1 - m1); O_right times a0 a1
    if (second) self().mask_tile(state, loop, tile + 1, Side::kRight);
    wait_for_fact(kFrame0Ready);
    float factor0 = self().storage.scale[0][self().thread.row()];
    float factor1 = self().storage.scale[0][self().thread.row() + 8];
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
      store_p(self().shared.p(1), self().thread, state.p);
      issue_local_values<Config>(state, v + kBuffer1);
      ptx::fence_async_proxy();
    }
    // [8] O_right += P0 V0_right
    wait_for_fact(kP0Stored);
    issue_remote_values<Config>(state, ptx::descriptor_k_major(self().shared.p(0)), v);
    if (second) {
      state_fact(kP1Stored);
      ptx::wgmma_wait<1>();  // [6] is done
      self().shared.kv_empty(1, 1).release(self().thread.lane);
    }
    finish_products(state);
    self().shared.kv_empty(0, 1).release(self().thread.lane);
    // [11] [2] of the next pair
    if (tile + 3 < loop.num_tiles) {
      score_first(state, loop, Side::kRight);
      score_rest(state, loop, Side::kRight);
      if (tile + 5 >= loop.num_tiles) self().release_queries();
    }
  }
};

}  // namespace seesaw::gpu::sm90
