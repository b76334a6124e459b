// An output warpgroup: half of the columns of every tile's product. The steps are those of
// README.md.
#pragma once

#include "gpu/marks.cuh"
#include "ops/dense_decode/sm90/results.cuh"
#include "ops/dense_decode/sm90/three/loader.cuh"

namespace seesaw::dense_decode::sm90::three {

template <typename Config>
struct Output {
  const DenseDecodeParams& params;
  const SharedAddresses& shared;
  SharedStorage& storage;
  Side side;

  // The calling thread's place, computed where it is used: registers are few.
  static __device__ __forceinline__ ConsumerThread here() {
    const auto thread = static_cast<unsigned>(ptx::thread_index()) % kWarpgroupThreads;
    return {static_cast<int>(thread / 32), static_cast<int>(thread % 32)};
  }
  static __device__ __forceinline__ bool is_loader() {
    return ptx::thread_index() % kWarpgroupThreads == 0;
  }
  __device__ __forceinline__ int half() const { return static_cast<int>(side); }
  __device__ __forceinline__ HalfLoader<Config> loader() const {
    return {params, shared, storage, half()};
  }

  __device__ __forceinline__ void run() const {
    ConsumerState state;
    clear(state);
    gpu::RingTurn<kProbSlots> prob;
#pragma unroll 1
    // A slot of P for every tile, and one for the end of every piece.
    for (int32_t piece = 0; piece < storage.work.num_pieces; prob.advance()) {
      const int slot = prob.slot();
      ptx::barrier_sync(kHandedOver + 2 * slot + half(), kConsumerThreads);
      if (storage.handover[slot].tiles_left != kPieceEnd) {
        gpu::mark_tile<Config>(storage.handover[slot].tile, gpu::TileMark::kOtherStored);
        add_tile(state, slot, piece);
      } else {
        gpu::mark<Config>(piece, gpu::Mark::kTilesDone);
        end_piece(state, slot, piece);
        clear(state);
        gpu::mark<Config>(piece, gpu::Mark::kFinished);
        ++piece;
      }
    }
  }

  static __device__ __forceinline__ void clear(ConsumerState& state) {
#pragma unroll
    for (int i = 0; i < 128; ++i) state.o[i] = 0.0F;
  }

  __device__ __forceinline__ void add_tile(ConsumerState& state, int slot, int32_t piece) const {
    const gpu::RingTurn<kStages> kv(storage.handover[slot].filling);
    const gpu::Turn tile(storage.handover[slot].tile);
    follow_frames(state, slot);
    if (storage.handover[slot].scrub_begin < kTileTokens) scrub(kv, slot, piece);
    ptx::barrier_sync(kScoresAhead + 2 * slot + half(), kWarpgroupThreads + 32);
    gpu::mark_tile<Config>(tile.number(), gpu::TileMark::kTurn);
    // [8] O += P V
    issue_remote_values<Config>(
        state, ptx::descriptor_k_major(shared.p(slot)),
        ptx::descriptor_mn_major(shared.kv(kv.slot(), half()), sizeof(Box)));
    bool more = false;
    if (is_loader()) {
      // The stage of the queries is free, as the scores have released it.
      if (storage.handover[slot].behind_queries && loader().find_next()) {
        loader().load(gpu::RingTurn<kStages>(kv.number() - 1 + kStages));
      }
      if (Config::kHasRotaryBox && side == Side::kLeft) load_next_rotary(kv, tile, slot);
      more = loader().find_next();
    }
    ptx::wgmma_wait<0>();
    ptx::pin(state.o);
    const int lane = here().lane;
    shared.prob_empty(slot).release(lane);
    shared.kv_empty(kv.slot(), half()).release(lane);
    if (more) loader().load(gpu::RingTurn<kStages>(kv.number() + kStages));
    gpu::mark_tile<Config>(tile.number(), gpu::TileMark::kOtherMultiplied);
  }

  // [7] O into the frames of the tile.
  __device__ __forceinline__ void follow_frames(ConsumerState& state, int slot) const {
    const ConsumerThread thread = here();
    if (storage.handover[slot].moved[thread.warp] == 0) return;
    const float(&scale)[kTileRows] = storage.scale[slot];
    gpu::scale_rows(state.o, scale[thread.row()], scale[thread.row() + 8]);
  }

  // Tokens that not every row sees lose what a probability of 0 would not take away. Every thread
  // has done so when the warpgroup is past kScoresAhead.
  __device__ __forceinline__ void scrub(gpu::RingTurn<kStages> kv, int slot, int32_t piece) const {
    const Handover& handover = storage.handover[slot];
    const bool changed = scrub_boxes<Config, kHalfBoxes>(shared.kv(kv.slot(), half()),
                                                         handover.scrub_begin, handover.scrub_end);
    if (changed) storage.not_finite[half()] = piece + 1;
  }

  // The rotary box of the tile after next, if that is in the same piece: those of a piece's first
  // two tiles are the score warpgroup's to bring.
  __device__ __forceinline__ void load_next_rotary(gpu::RingTurn<kStages> kv, gpu::Turn tile,
                                                   int slot) const {
    if (storage.handover[slot].tiles_left < 2) return;
    load_rotary(params, shared, storage, gpu::RingTurn<kStages>(kv.number() + 2),
                gpu::Turn(tile.number() + 2));
  }

  // Read anew each time: an output warpgroup has no registers to spare.
  struct Stats {
    uint32_t sums, frames;  // in shared memory, of the tile's rows
    static constexpr int kLeftWritten = kHalfWritten;
    static constexpr int kRightWritten = kHalfWritten + 1;

    static __device__ __forceinline__ float number(uint32_t numbers, int row) {
      return __uint_as_float(ptx::load_shared_4(numbers + row * sizeof(float)));
    }
    __device__ __forceinline__ float sum(int row) const { return number(sums, row); }
    __device__ __forceinline__ RowTotals totals() const {
      const int row = here().row();
      return {{sum(row), sum(row + 8)}, {number(frames, row), number(frames, row + 8)}};
    }
  };

  // [10]
  __device__ __forceinline__ void end_piece(const ConsumerState& state, int slot,
                                            int32_t piece) const {
    const uint32_t end = shared.p(slot);
    const Stats stats = {end + static_cast<uint32_t>(offsetof(PieceEnd, sum)),
                         end + static_cast<uint32_t>(offsetof(PieceEnd, frame))};
    PieceResults<Config, Stats>{params, storage.prob[slot].end.piece, stats, storage.work, here(),
                                side}
        .write(state, storage.not_finite[half()] == static_cast<uint32_t>(piece + 1));
    shared.prob_empty(slot).release(here().lane);
  }
};

}  // namespace seesaw::dense_decode::sm90::three
