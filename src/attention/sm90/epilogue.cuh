// [12], the end of a piece: a finished item is normalised and written out, a part of one goes to
// the workspace as it is.
#pragma once

#include "attention/device/record.cuh"
#include "attention/device/results.cuh"
#include "attention/device/row_anew.cuh"
#include "attention/sm90/smem.cuh"
#include "gpu/sm90/output.cuh"

namespace seesaw::attention::sm90 {

// Of one consumer thread.
template <typename Config>
struct Epilogue {
  using Element = typename Config::Element;

  const Params& params;
  SharedStorage<Config>& storage;
  const PieceWork& piece;
  ConsumerThread thread;
  Side side;

  __device__ __forceinline__ ResultPlaces<Config> places() const { return {params, piece}; }
  __device__ __forceinline__ int row(int r) const { return thread.row() + 8 * r; }
  __device__ __forceinline__ int first_column() const {
    return static_cast<int>(side) * kHalfColumns;
  }

  __device__ __forceinline__ void run(const ConsumerState& state, RowTotals totals,
                                      gpu::Turn turn) const {
    const uint32_t(&not_finite)[2] = storage.pieces.not_finite[turn.slot()];
    const bool all_anew = not_finite[0] == turn.number() + 1 || not_finite[1] == turn.number() + 1;
    const bool anew[2] = {all_anew || beyond_frames(totals, 0),
                          all_anew || beyond_frames(totals, 1)};
    if (__builtin_expect(piece.stale, 0)) totals.sum[0] = totals.sum[1] = NAN;
    if (piece.partial < 0) {
      write_out(state, totals);
    } else {
      write_partial(state, totals);
    }
    if (__builtin_expect(__any_sync(~0u, anew[0] || anew[1]), 0) && !piece.stale) {
      compute_rows_anew(anew);
    }
  }

  // Joins the two warpgroups' sums (both are in the final frame) and maxima. All scores of the
  // piece are done then.
  __device__ __forceinline__ RowTotals join(const ConsumerState& state) const {
    const float sum[2] = {gpu::quad_sum(state.sum0), gpu::quad_sum(state.sum1)};
    const int own = static_cast<int>(side);
    if (thread.lane % 4 == 0) {
      storage.sum[own][row(0)] = sum[0];
      storage.sum[own][row(1)] = sum[1];
    }
    wait_for_fact(kSumsReady);
    RowTotals totals;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      totals.frame[r] = storage.frame[row(r)];
      totals.sum[r] = sum[r] + storage.sum[1 - own][row(r)];
      totals.top[r] = fmaxf(storage.top[0][row(r)], storage.top[1][row(r)]);
    }
    return totals;
  }

  // out = O / sum for the rows of the thread, one half of the columns, and their statistics.
  __device__ __forceinline__ void write_out(const ConsumerState& state,
                                            const RowTotals& totals) const {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const bool exists = places().exists(row(r));
      const float sum =
          exists ? places().sum_with_sink(row(r), totals.frame[r], totals.sum[r]) : 1.0F;
      const float inverse = 1.0F / sum;
      // A row with nothing to attend is 0, also where infinite values have met scores of -inf.
      const uint32_t kept = totals.sum[r] == 0.0F ? 0u : ~0u;
      uint16_t* out = exists ? places().out_row(row(r)) + first_column() : nullptr;
      write_half_row<Element>(state, r, thread.lane, inverse, kept, out, exists,
                              params.out_aligned);
      if (exists && side == Side::kLeft && thread.lane % 4 == 0) {
        places().write_statistics(row(r), totals.frame[r], totals.sum[r], totals.top[r]);
      }
    }
  }

  // A split's part, scaled to 16 bits and in the order of the accumulator: gpu/partials.hpp.
  __device__ __forceinline__ void write_partial(const ConsumerState& state,
                                                const RowTotals& totals) const {
    const int half = static_cast<int>(side);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const gpu::PartialScale bits = gpu::partial_scale(__float_as_uint(largest_of_row(state, r)));
      const float scale = __uint_as_float(bits.scale_bits);
      if (!places().in_slot(row(r))) continue;
      const int64_t index = places().slot_row(row(r));
      write_half_partial(
          state, r, thread.lane, scale,
          params.partial_out + index * gpu::partial_units(kValueColumns) + half * kHalfUnits);
      if (thread.lane % 4 != 0) continue;
      params.partial_stat[index * kHalves + half] = {.frame = totals.frame[r],
                                                     .sum = totals.sum[r],
                                                     .unscale = __uint_as_float(bits.unscale_bits),
                                                     .top = totals.top[r]};
    }
  }

  // Rows of the warp that `anew` asks for, whose results are written already: the warp's half of
  // their columns.
  __device__ __forceinline__ void compute_rows_anew(const bool (&anew)[2]) const {
    const uint32_t asked[2] = {__ballot_sync(~0u, anew[0]), __ballot_sync(~0u, anew[1])};
    __syncwarp();  // other lanes have written what is written over
#pragma unroll 1
    for (int i = 0; i < kWarpRows; ++i) {
      const uint32_t row_asked = (i < 8 ? asked[0] >> (4 * i) : asked[1] >> (4 * (i - 8))) & 1u;
      if (row_asked != 0) {
        RowAnew<Config, kHalfColumns>(params, piece, thread.warp * kWarpRows + i, first_column())
            .run();
      }
    }
  }
};

}  // namespace seesaw::attention::sm90
