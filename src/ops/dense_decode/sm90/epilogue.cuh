// [12], the end of a piece: the two warpgroups' sums are joined, and the results written.
#pragma once

#include "ops/dense_decode/sm90/results.cuh"
#include "ops/dense_decode/sm90/smem.cuh"

namespace seesaw::dense_decode::sm90 {

// What the end of a piece needs to know, of one consumer thread.
template <typename Config>
struct Epilogue {
  const DenseDecodeParams& params;
  SharedStorage<Config>& storage;
  BlockWork work;
  ConsumerThread thread;
  Side side;
  int slot;  // of the piece's turn

  // Rows' statistics, when both warpgroups have stored their sums.
  struct Stats {
    RowTotals of_thread;
    const float (&halves)[2][kTileRows];
    static constexpr int kLeftWritten = kLeftScrub;
    static constexpr int kRightWritten = kRightScrub;

    __device__ __forceinline__ RowTotals totals() const { return of_thread; }
    __device__ __forceinline__ float sum(int row) const { return halves[0][row] + halves[1][row]; }
  };

  // `number`: of the piece's turn.
  __device__ __forceinline__ void run(const ConsumerState& state, uint32_t number) const {
    const Stats stats = {join_sums(state), storage.sum[slot]};
    const uint32_t(&not_finite)[2] = storage.not_finite[slot];
    PieceResults<Config, Stats>{params, storage.piece[slot], stats, work, thread, side}.write(
        state, not_finite[0] == number + 1 || not_finite[1] == number + 1);
  }

  // Joins the two warpgroups' sums (both are in the final frame).
  __device__ __forceinline__ RowTotals join_sums(const ConsumerState& state) const {
    const float sum0 = gpu::quad_sum(state.sum0);
    const float sum1 = gpu::quad_sum(state.sum1);
    const int row = thread.row();
    // Before the sums are ready: behind that the other warpgroup may begin the next piece's frame.
    const float frame0 = storage.frame[row];
    const float frame1 = storage.frame[row + 8];
    const int own = static_cast<int>(side);
    if (thread.lane % 4 == 0) {
      storage.sum[slot][own][row] = sum0;
      storage.sum[slot][own][row + 8] = sum1;
    }
    wait_for_fact(kSumsReady);
    return {{sum0 + storage.sum[slot][1 - own][row], sum1 + storage.sum[slot][1 - own][row + 8]},
            {frame0, frame1}};
  }
};

}  // namespace seesaw::dense_decode::sm90
