// The loop over a piece's tiles, for producers that take long: the warpgroups take turns.
//
// Warpgroup left scores the even tiles, right the odd ones; each owns one half of the output. Of
// every tile, the warpgroup that has scored it makes the probabilities and multiplies its own half
// of the values by them; the other takes them from shared memory. A buffer is so let go one tile
// after the other, and while one tile is used the next one lands. (In the seesaw both buffers are
// let go, and wait for their tiles, at almost the same time.)
#pragma once

#include "attention/sm90/smem.cuh"
#include "gpu/marks.cuh"
#include "gpu/sm90/tile_steps.cuh"

namespace seesaw::attention::sm90 {

// Asks of a Consumer what TileSteps asks for, and for note_scored(loop): its first tile's scores
// are done.
template <typename Derived, typename Config>
struct TilesInTurn : TileSteps<Derived, Config> {
  using Base = TileSteps<Derived, Config>;
  using Base::self;
  using typename Base::FrameMove;
  using typename Base::Loop;

  __device__ __forceinline__ void tiles(ConsumerState& state, Loop& loop, Side side) const {
    const int own = static_cast<int>(side);
    if (side == Side::kLeft) {
      begin_frames();
      if (loop.num_tiles > 0) score_together(state, loop, side);
    }
#pragma unroll 1
    for (int32_t tile = 0; tile < loop.num_tiles; ++tile) {
      if (tile % 2 == own) {
        if (tile == own) self().note_scored(loop);
        own_tile(state, loop, tile, side);
      } else {
        other_tile(state, loop, tile, side);
      }
      if (tile == 1) self().first_pair_done(loop);
    }
  }

 private:
  __device__ __forceinline__ void begin_frames() const {
    if (self().thread.lane % 4 == 0) {
      self().storage.frame[self().thread.row()] = gpu::kEmptyFrame;
      self().storage.frame[self().thread.row() + 8] = gpu::kEmptyFrame;
    }
    __syncwarp();
  }

  // S = Q K^T of the warpgroup's next tile.
  __device__ __forceinline__ void score(ConsumerState& state, Loop& loop, Side side) const {
    const uint32_t number = loop.tile.number();
    gpu::mark_tile<Config>(number, gpu::TileMark::kBegun);
    this->score_first(state, loop, side);
    gpu::mark_tile<Config>(number, gpu::TileMark::kHalfLanded);
    this->score_rest(state, loop, side);
    gpu::mark_tile<Config>(number, gpu::TileMark::kScored);
  }

  // The same, until all warps of the warpgroup have done it: P may take the place of what they have
  // read. (Of a tile that is scored early, p_stored() of the tile before says so.)
  __device__ __forceinline__ void score_together(ConsumerState& state, Loop& loop,
                                                 Side side) const {
    score(state, loop, side);
    ptx::barrier_sync(own_warps(side), kWarpgroupThreads);
  }

  static __device__ __forceinline__ NamedBarrier own_warps(Side side) {
    return side == Side::kLeft ? kLeftTogether : kRightTogether;
  }

  // The warpgroup's half of the values in `buffer`.
  __device__ __forceinline__ uint32_t values_of(Side side, int buffer) const {
    return this->values(side) + buffer * Base::kBuffer1;
  }
  static __device__ __forceinline__ NamedBarrier p_stored(int buffer) {
    return buffer == 0 ? kP0Stored : kP1Stored;
  }

  // m = max(m, rowmax S); O = O 2^(m' - m) + P V of its own half, P = 2^(S - m).
  __device__ __forceinline__ void own_tile(ConsumerState& state, const Loop& loop, int32_t tile,
                                           Side side) const {
    const int buffer = tile % 2;
    self().mask_tile(state, loop, tile, side);
    const FrameMove move = this->move_frame(state, buffer);
    if (tile > 0) this->scale_output(state, move.factor0, move.factor1);  // before it is still 0
    this->probabilities(state, move, move.factor0, move.factor1);
    store_p(self().shared.p(buffer), self().thread, state.p);
    ptx::fence_async_proxy();
    gpu::mark_tile<Config>(loop.tile.number() - 1, gpu::TileMark::kPStored);
    state_fact(p_stored(buffer));
    issue_local_values<Config>(state, values_of(side, buffer));
    this->finish_products(state);
    gpu::mark_tile<Config>(loop.tile.number() - 1, gpu::TileMark::kMultiplied);
    self().shared.kv_empty(buffer, static_cast<int>(side)).release(self().thread.lane);
  }

  // The same of the other warpgroup's tile, whose frame and P it has made. The warpgroup's own next
  // tile is scored before, if it is there already, or else behind, so that a tile that is late does
  // not keep this one's buffer.
  __device__ __forceinline__ void other_tile(ConsumerState& state, Loop& loop, int32_t tile,
                                             Side side) const {
    const int buffer = tile % 2;
    const bool next = tile + 1 < loop.num_tiles;
    const uint32_t number = loop.tile.number();
    const bool early = next && has_landed(loop, side);
    if (early) score(state, loop, side);
    wait_for_fact(p_stored(buffer));
    gpu::mark_tile<Config>(number, gpu::TileMark::kOtherStored);
    const float factor0 = self().storage.scale[buffer][self().thread.row()];
    const float factor1 = self().storage.scale[buffer][self().thread.row() + 8];
    if (tile > 0) {
      this->scale_output(state, factor0, factor1);
      state.sum0 *= factor0;
      state.sum1 *= factor1;
    }
    issue_remote_values<Config>(state, ptx::descriptor_k_major(self().shared.p(buffer)),
                                values_of(side, buffer));
    this->finish_products(state);
    gpu::mark_tile<Config>(number, gpu::TileMark::kOtherMultiplied);
    self().shared.kv_empty(buffer, static_cast<int>(side)).release(self().thread.lane);
    if (next && !early) score_together(state, loop, side);
  }

  // Whether the warpgroup's next tile is there. All its warps get the same answer, the first one's:
  // they issue products together.
  __device__ __forceinline__ bool has_landed(const Loop& loop, Side side) const {
    const int own = static_cast<int>(side);
    const int last_copy = (1 - own) * kHalfCopies + kHalfCopies - 1;
    if (self().thread.warp == 0 && self().thread.lane == 0) {
      self().storage.landed[own] = self().shared.kv_full(own, last_copy).is_open(loop.tile);
    }
    ptx::barrier_sync(own_warps(side), kWarpgroupThreads);
    return self().storage.landed[own];
  }
};

}  // namespace seesaw::attention::sm90
