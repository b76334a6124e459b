// The end of a piece: a finished sequence is normalised and written out, a part of one goes to the
// workspace as it is.
#pragma once

#include "ops/dense_decode/sm90/consumer.cuh"

namespace seesaw::dense_decode::sm90 {

// A piece's final row statistics, for the thread's two rows.
struct RowTotals {
  float sum0, sum1;
};

// Joins the two warpgroups' sums (both are in the final frame).
template <typename Config>
__device__ __forceinline__ RowTotals join_sums(const ConsumerState& state,
                                               SharedStorage<Config>& storage,
                                               const ConsumerThread& thread, Side side,
                                               int parity) {
  const float sum0 = gpu::quad_sum(state.sum0);
  const float sum1 = gpu::quad_sum(state.sum1);
  const int row = thread.row();
  const int own = static_cast<int>(side);
  if (thread.lane % 4 == 0) {
    storage.sum[parity][own][row] = sum0;
    storage.sum[parity][own][row + 8] = sum1;
  }
  ptx::barrier_sync(kSumsReady, kConsumerThreads);
  return {sum0 + storage.sum[parity][1 - own][row], sum1 + storage.sum[parity][1 - own][row + 8]};
}

// Four lanes hold, for four groups of eight columns each, one pair of elements of every group.
// Afterwards lane q holds all of group q: 16 contiguous bytes.
__device__ __forceinline__ void transpose_quad(uint32_t (&v)[4], int lane) {
#pragma unroll
  for (int bit = 1; bit <= 2; bit *= 2) {
    const bool upper = lane & bit;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (i & bit) continue;
      const uint32_t send = upper ? v[i] : v[i | bit];
      const uint32_t got = __shfl_xor_sync(~0u, send, bit);
      if (upper) {
        v[i] = got;
      } else {
        v[i | bit] = got;
      }
    }
  }
}

// Where a row's output half begins, and whether the row exists.
struct OutputRow {
  uint16_t* out;
  bool valid;
};

__device__ __forceinline__ OutputRow output_row(const DenseDecodeParams& params,
                                                const BlockWork& work, int32_t sequence, int row,
                                                Side side) {
  const int32_t packed = work.row_tile * kTileRows + row;
  const int32_t token = packed / params.group;
  const int32_t head = work.kv_head * params.group + packed - token * params.group;
  return {static_cast<uint16_t*>(params.out) + sequence * params.out_stride_batch +
              token * params.out_stride_token + head * params.out_stride_head +
              static_cast<int>(side) * kHalfColumns,
          packed < params.rows};
}

// A row of the thread, r = 0 or 1, times `factor`: columns 8n + 2q and the next as one word.
template <typename Element>
__device__ __forceinline__ uint32_t output_word(const ConsumerState& state, int r, int n,
                                                float factor) {
  const int i = 4 * n + 2 * r;
  return ptx::pack<Element>(state.o[i] * factor, state.o[i + 1] * factor);
}

// out = O / sum for the rows of the thread, one half of the columns.
template <typename Config>
__device__ __forceinline__ void write_out(const DenseDecodeParams& params, const BlockWork& work,
                                          int32_t sequence, const ConsumerState& state,
                                          const RowTotals& totals, const ConsumerThread& thread,
                                          Side side) {
  using Element = typename Config::Element;
  const int quad_lane = thread.lane % 4;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const float sum = r == 0 ? totals.sum0 : totals.sum1;
    const float inverse = sum == 0.0F ? 0.0F : 1.0F / sum;
    const OutputRow to = output_row(params, work, sequence, thread.row() + 8 * r, side);
    if (params.out_aligned) {
#pragma unroll
      for (int block = 0; block < 8; ++block) {  // 32 columns: four groups of eight
        uint32_t v[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          v[i] = output_word<Element>(state, r, 4 * block + i, inverse);
        }
        transpose_quad(v, thread.lane);
        if (to.valid) {
          *reinterpret_cast<uint4*>(to.out + block * 32 + quad_lane * 8) =
              make_uint4(v[0], v[1], v[2], v[3]);
        }
      }
    } else if (to.valid) {
#pragma unroll
      for (int n = 0; n < 32; ++n) {
        const uint32_t v = output_word<Element>(state, r, n, inverse);
        to.out[8 * n + 2 * quad_lane] = static_cast<uint16_t>(v);
        to.out[8 * n + 2 * quad_lane + 1] = static_cast<uint16_t>(v >> 16);
      }
    }
  }
}

// LSE of the thread's two rows; warpgroup left writes it, one lane of each four.
template <typename Config>
__device__ __forceinline__ void write_lse(const DenseDecodeParams& params, const BlockWork& work,
                                          int32_t sequence, const SharedStorage<Config>& storage,
                                          const RowTotals& totals, const ConsumerThread& thread) {
  if (params.lse == nullptr || thread.lane % 4 != 0) return;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const float sum = r == 0 ? totals.sum0 : totals.sum1;
    const int32_t row = work.row_tile * kTileRows + thread.row() + 8 * r;
    if (row >= params.rows) continue;
    const int32_t token = row / params.group;
    const int32_t head = work.kv_head * params.group + row - token * params.group;
    const float lse = (storage.frame[thread.row() + 8 * r] + log2f(sum)) * params.lse_factor;
    params.lse[sequence * params.lse_stride_batch + head * params.lse_stride_head +
               token * params.lse_stride_token] = sum == 0.0F ? params.empty_lse : lse;
  }
}

// Largest magnitude of a row of the thread, r = 0 or 1, over the four lanes that share it.
__device__ __forceinline__ float largest_of_row(const ConsumerState& state, int r) {
  float largest = 0.0F;
#pragma unroll
  for (int n = 0; n < 32; ++n) {
    largest =
        fmaxf(largest, fmaxf(fabsf(state.o[4 * n + 2 * r]), fabsf(state.o[4 * n + 2 * r + 1])));
  }
  largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, 1));
  return fmaxf(largest, __shfl_xor_sync(~0u, largest, 2));
}

// A half of the output is a block of a partial row.
inline constexpr int kHalfUnits = kHalfColumns / gpu::kPartialUnitElements;
static_assert(gpu::partial_block_columns(kValueColumns) == kHalfColumns);

// A split's part, scaled to 16 bits and in the order of the accumulator: gpu/partials.hpp.
template <typename Config>
__device__ __forceinline__ void write_partial(const DenseDecodeParams& params,
                                              const BlockWork& work, int32_t slot,
                                              const ConsumerState& state,
                                              const SharedStorage<Config>& storage,
                                              const RowTotals& totals, const ConsumerThread& thread,
                                              Side side) {
  const int quad_lane = thread.lane % 4;
  const int half = static_cast<int>(side);
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const gpu::PartialScale bits = gpu::partial_scale(__float_as_uint(largest_of_row(state, r)));
    const float scale = __uint_as_float(bits.scale_bits);
    const int32_t row = work.row_tile * kTileRows + thread.row() + 8 * r;
    if (row >= params.rows) continue;
    const int64_t index = params.partials.row_index(slot, work.kv_head, row);
    uint4* out = params.partial_out + index * gpu::partial_units(kValueColumns) +
                 half * kHalfUnits + quad_lane;
#pragma unroll
    for (int four = 0; four < 8; ++four) {
      out[4 * four] = make_uint4(output_word<__half>(state, r, 4 * four, scale),
                                 output_word<__half>(state, r, 4 * four + 1, scale),
                                 output_word<__half>(state, r, 4 * four + 2, scale),
                                 output_word<__half>(state, r, 4 * four + 3, scale));
    }
    if (quad_lane != 0) continue;
    params.partial_stat[index * kHalves + half] = {.frame = storage.frame[thread.row() + 8 * r],
                                                   .sum = r == 0 ? totals.sum0 : totals.sum1,
                                                   .unscale = __uint_as_float(bits.unscale_bits),
                                                   .padding = 0.0F};
  }
}

template <typename Config>
__device__ __forceinline__ void finish_piece(const DenseDecodeParams& params, const BlockWork& work,
                                             const PieceInfo& piece, const ConsumerState& state,
                                             SharedStorage<Config>& storage,
                                             const ConsumerThread& thread, Side side, int parity) {
  const RowTotals totals = join_sums<Config>(state, storage, thread, side, parity);
  if (piece.partial < 0) {
    write_out<Config>(params, work, piece.sequence, state, totals, thread, side);
    if (side == Side::kLeft) {
      write_lse<Config>(params, work, piece.sequence, storage, totals, thread);
    }
  } else {
    write_partial<Config>(params, work, piece.partial, state, storage, totals, thread, side);
  }
}

}  // namespace seesaw::dense_decode::sm90
