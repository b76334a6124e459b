// A consumer warpgroup: the seesaw (gpu/sm90/seesaw.cuh) over the pieces of its worker.
#pragma once

#include "gpu/marks.cuh"
#include "ops/dense_decode/sm90/epilogue.cuh"

namespace seesaw::dense_decode::sm90 {

template <typename Config>
struct Consumer : Seesaw<Consumer<Config>, Config> {
  using Base = Seesaw<Consumer<Config>, Config>;
  using Loop = typename Base::Loop;

  const DenseDecodeParams& params;
  const SharedAddresses<Config>& shared;
  SharedStorage<Config>& storage;
  BlockWork work;
  ConsumerThread thread;

  __device__ Consumer(const DenseDecodeParams& params_of_launch,
                      const SharedAddresses<Config>& addresses, SharedStorage<Config>& plan,
                      const BlockWork& work_of_block, ConsumerThread place)
      : params(params_of_launch),
        shared(addresses),
        storage(plan),
        work(work_of_block),
        thread(place) {}

  __device__ __forceinline__ float scale_log2() const { return params.scale_log2; }
  __device__ __forceinline__ void note_maxima(int, float, float) const {}
  __device__ __forceinline__ void release_queries() const {
    shared.q_empty(0).release(thread.lane);
  }
  __device__ __forceinline__ void first_pair_done(const Loop& loop) const {
    gpu::mark<Config>(static_cast<int>(loop.piece.number()), gpu::Mark::kFirstPair);
  }

  // Waits until the piece's queries are there, and reads what the piece is.
  __device__ __forceinline__ void open_piece(Loop& loop) const {
    shared.q_full(0).wait_warp(loop.piece);
    loop.num_tiles = storage.piece[loop.piece.slot()].num_tiles;
    loop.masked_tile = storage.piece[loop.piece.slot()].masked_tile;
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
    if (scrub_values<Config>(shared.kv(tile & 1), max(mask.least - token_begin, 0),
                             mask.seq_len - token_begin, barrier)) {
      storage.not_finite[loop.piece.slot()][static_cast<int>(side)] = loop.piece.number() + 1;
    }
  }

  // A worker's pieces. One code for both warpgroups but for the loop over tiles, as it runs
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
      gpu::mark<Config>(index, gpu::Mark::kOpened);
      if (loop.num_tiles > own) {  // [1] and [2] of the first pair
        this->score_first(state, loop, side);
        await_rotary_box(loop);
        keep_rotary_box<Config>(state, shared.q() + kValueBoxes * sizeof(Box), thread);
        this->score_rest(state, loop, side);
      } else {
        await_rotary_box(loop);
      }
      Base::clear(state);
      gpu::mark<Config>(index, gpu::Mark::kScored);
      if (loop.num_tiles <= 2 + own) release_queries();
      if (side == Side::kLeft) {
        this->left_tiles(state, loop);
        shared.q_empty(1).release(thread.lane);
      } else {
        this->right_tiles(state, loop);
      }
      gpu::mark<Config>(index, gpu::Mark::kTilesDone);
      // [12]
      Epilogue<Config>{params, storage, work, thread.apart(), side, loop.piece.slot()}.run(
          state, loop.piece.number());
      gpu::mark<Config>(index, gpu::Mark::kFinished);
    }
  }
};

}  // namespace seesaw::dense_decode::sm90
