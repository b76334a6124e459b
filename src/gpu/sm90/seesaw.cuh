// The seesaw: two warpgroups, two KV tiles in flight, each scoring one tile and owning one half of
// the output. The steps [1] to [11] are those of ops/dense_decode/sm90/README.md.
#pragma once

#include "gpu/sm90/tile_steps.cuh"

namespace seesaw::gpu::sm90 {

// The Consumer that derives from it has, besides what TileSteps asks for,
//
//   release_queries()
//       the warpgroup's last scores of the piece are done
template <typename Derived, typename Config>
struct Seesaw : TileSteps<Derived, Config> {
  using Base = TileSteps<Derived, Config>;
  using Base::any_moved;
  using Base::finish_products;
  using Base::kBuffer1;
  using Base::move_frame;
  using Base::probabilities;
  using Base::scale_output;
  using Base::score_first;
  using Base::score_rest;
  using Base::self;
  using Base::values;
  using typename Base::FrameMove;
  using typename Base::Loop;

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
    if (moved) gpu::repack<typename Config::Element>(state.s, state.p, later0, later1);
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
    if (tile + 2 < loop.num_tiles) {
      // [1] of the next pair, behind [10]
      score_first(state, loop, Side::kLeft);
      ptx::wgmma_wait<kHalfCopies>();  // [10] is done
      self().shared.kv_empty(1, 0).release(self().thread.lane);
      score_rest(state, loop, Side::kLeft);
      ptx::pin(state.o);
      if (tile + 4 >= loop.num_tiles) self().release_queries();
    } else {
      finish_products(state);
      if (second) self().shared.kv_empty(1, 0).release(self().thread.lane);
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
