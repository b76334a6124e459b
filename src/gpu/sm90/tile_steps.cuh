// What a consumer warpgroup does with a tile, whichever order it takes tiles in.
#pragma once

#include "gpu/pipeline.cuh"
#include "gpu/sm90/products.cuh"

namespace seesaw::gpu::sm90 {

// A kernel's Consumer derives from it (by way of the loop over tiles that it uses) and has shared
// (addresses: q(), kv(buffer), p(tile), kv_full(buffer, copy), kv_empty(buffer, half)), storage
// (frame[64], scale[2][64]), thread (its place), scale_log2() of the scores, and
//
//   mask_tile(state, loop, tile, side)
//       scores that a row does not see become -inf, and the values are cleaned
//
//   note_maxima(tile, max0, max1)
//       of the thread's two rows in tile 0 or 1 of a pair
//
//   first_pair_done(loop)
//       the warpgroup's first two tiles of the piece are done
//
// Config::kRotaryCopy: the copy that brings the rotary box; -1: those of the boxes scored before
// it.
template <typename Derived, typename Config>
struct TileSteps {
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
    move.frame0 = gpu::next_frame(old0, max0);
    move.frame1 = gpu::next_frame(old1, max1);
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
};

}  // namespace seesaw::gpu::sm90
