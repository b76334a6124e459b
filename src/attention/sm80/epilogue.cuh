// [8] The end of a piece: the warps of a row add up its sums; a whole item's rows are divided by
// them and written out, a part's go to the workspace (gpu/partials.hpp).
#pragma once

#include "attention/device/results.cuh"
#include "attention/sm80/softmax.cuh"
#include "gpu/partials.hpp"
#include "gpu/quad.cuh"

namespace seesaw::attention::sm80 {

template <typename Config>
struct Epilogue {
  const Params& params;
  const Shared<Config>& shared;
  const PieceWork& piece;
  ThreadPlace<Config> at = {};

  __device__ __forceinline__ ResultPlaces<Config> places() const { return {params, piece}; }

  // Until [b4]: all warps have passed [b3], where the sums are ready.
  __device__ __forceinline__ RowTotals run(const RowState& rows, const Output<Config>& output,
                                           uint32_t number) const {
    publish(rows, output);
    __syncthreads();  // [b3]
    const RowTotals totals = join(rows);
    if (piece.partial < 0) {
      write_out(output, totals);
    } else {
      write_partial(output, totals);
    }
    const bool scrubbed = shared.rest.not_finite == number + 1;
    if (!piece.stale && (scrubbed || beyond_frames(totals, 0) || beyond_frames(totals, 1))) {
      shared.rest.anew = number + 1;
    }
    __syncthreads();  // [b4]
    return totals;
  }

  __device__ __forceinline__ void publish(const RowState& rows,
                                          const Output<Config>& output) const {
    constexpr int kSubBlocks = Config::kWarpColumns / gpu::kPartialLeastColumns;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float sum = gpu::quad_sum(rows.sum[r]);
      if (at.quad_lane() == 0) shared.rest.sum[at.column_warp()][at.row(r)] = sum;
      if (piece.partial < 0) continue;
#pragma unroll
      for (int block = 0; block < kSubBlocks; ++block) {
        const float largest = largest_of(output, r, block);
        if (at.quad_lane() == 0) {
          shared.rest.largest[at.row(r)][at.column_warp() * kSubBlocks + block] = largest;
        }
      }
    }
  }

  // The largest magnitude of row r in 64 columns of the warp, those of the result alone.
  __device__ __forceinline__ float largest_of(const Output<Config>& output, int r,
                                              int block) const {
    float largest = 0.0F;
#pragma unroll
    for (int n = 0; n < 8; ++n) {
      const float(&of)[4] = output.of[8 * block + n];
      const int column = at.first_column() + 64 * block + 8 * n + 2 * at.quad_lane();
      if (column < params.d_v) largest = fmaxf(largest, fabsf(of[2 * r]));
      if (column + 1 < params.d_v) largest = fmaxf(largest, fabsf(of[2 * r + 1]));
    }
    largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, 1));
    return fmaxf(largest, __shfl_xor_sync(~0u, largest, 2));
  }

  __device__ __forceinline__ RowTotals join(const RowState& rows) const {
    RowTotals totals;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      totals.frame[r] = rows.frame[r];
      totals.top[r] = params.max_logits != nullptr ? shared.rest.row_top[at.row(r)] : 0.0F;
      totals.sum[r] = 0.0F;
#pragma unroll
      for (int w = 0; w < kColumnWarps; ++w) totals.sum[r] += shared.rest.sum[w][at.row(r)];
      if (piece.stale) totals.sum[r] = NAN;
    }
    return totals;
  }

  // Row r of the thread: columns 8n + 2q and the next, times a factor, as one word.
  template <typename Element>
  static __device__ __forceinline__ uint32_t word(const Output<Config>& output, int r, int n,
                                                  float factor) {
    return ptx::pack<Element>(output.of[n][2 * r] * factor, output.of[n][2 * r + 1] * factor);
  }

  __device__ __forceinline__ void write_out(const Output<Config>& output,
                                            const RowTotals& totals) const {
    using Element = typename Config::Element;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int row = at.row(r);
      const bool exists = places().exists(row);
      const float sum = exists ? places().sum_with_sink(row, totals.frame[r], totals.sum[r]) : 1.0F;
      const float factor = 1.0F / sum;
      // A row with nothing to attend is 0, also where infinite values have met scores of -inf.
      const uint32_t kept = totals.sum[r] == 0.0F ? 0u : ~0u;
      uint16_t* out = exists ? places().out_row(row) : nullptr;
#pragma unroll
      for (int four = 0; four < Config::kBlocks / 4; ++four) {  // 32 columns
        uint32_t v[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) v[i] = word<Element>(output, r, 4 * four + i, factor) & kept;
        const int column = at.first_column() + 32 * four;
        if (params.out_aligned) {
          gpu::transpose_quad(v, at.lane);
          const int mine = column + 8 * at.quad_lane();
          if (exists && mine < params.d_v) {
            *reinterpret_cast<uint4*>(out + mine) = make_uint4(v[0], v[1], v[2], v[3]);
          }
        } else if (exists) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            const int mine = column + 8 * i + 2 * at.quad_lane();
            if (mine < params.d_v) out[mine] = static_cast<uint16_t>(v[i]);
            if (mine + 1 < params.d_v) out[mine + 1] = static_cast<uint16_t>(v[i] >> 16);
          }
        }
      }
      if (exists && at.writes_row()) {
        places().write_statistics(row, totals.frame[r], totals.sum[r], totals.top[r]);
      }
    }
  }

  __device__ __forceinline__ void write_partial(const Output<Config>& output,
                                                const RowTotals& totals) const {
    const int block_columns = gpu::partial_block_columns(params.d_v);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int row = at.row(r);
      if (!places().in_slot(row)) continue;
      const int64_t index = places().slot_row(row);
      uint4* out = params.partial_out + index * gpu::partial_units(params.d_v);
#pragma unroll
      for (int sub = 0; sub < Config::kWarpColumns / gpu::kPartialLeastColumns; ++sub) {
        const int column = at.first_column() + gpu::kPartialLeastColumns * sub;
        const int block = column / block_columns;
        if (block >= gpu::partial_blocks(params.d_v)) continue;
        const gpu::PartialScale bits = gpu::partial_scale(
            __float_as_uint(largest_of_block(row, block * block_columns / gpu::kPartialLeastColumns,
                                             block_columns / gpu::kPartialLeastColumns)));
        const float scale = __uint_as_float(bits.scale_bits);
#pragma unroll
        for (int half = 0; half < 2; ++half) {  // 32 columns: four units, one of this thread
          const int n = 8 * sub + 4 * half;
          out[gpu::partial_unit(column + 32 * half) + at.quad_lane()] = make_uint4(
              word<__half>(output, r, n, scale), word<__half>(output, r, n + 1, scale),
              word<__half>(output, r, n + 2, scale), word<__half>(output, r, n + 3, scale));
        }
        if (column % block_columns == 0 && at.quad_lane() == 0) {
          params.partial_stat[index * gpu::partial_blocks(params.d_v) + block] = {
              .frame = totals.frame[r],
              .sum = totals.sum[r],
              .unscale = __uint_as_float(bits.unscale_bits),
              .top = totals.top[r]};
        }
      }
    }
  }

  // Over `count` runs of 64 columns from `first` on.
  __device__ __forceinline__ float largest_of_block(int row, int first, int count) const {
    float largest = 0.0F;
    for (int i = 0; i < count; ++i) largest = fmaxf(largest, shared.rest.largest[row][first + i]);
    return largest;
  }
};

}  // namespace seesaw::attention::sm80
