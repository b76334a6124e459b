// Where the results of a row go, and its statistics.
#pragma once

#include <numbers>

#include "attention/device/work.cuh"
#include "gpu/partials.hpp"
#include "gpu/softmax_frame.cuh"

namespace seesaw::attention::device {

// Statistics of the thread's two rows, over all tokens of the piece.
struct RowTotals {
  float frame[2];
  float sum[2];
  float top[2];
};

// Whether the tensor cores' result of a row is none, by its totals, or of row r of the thread: see
// gpu::kLargestFrame.
__device__ __forceinline__ bool beyond_frames(float frame, float sum) {
  const bool large = fabsf(frame) > gpu::kLargestFrame && frame != gpu::kEmptyFrame;
  return large || !(sum < INFINITY);
}
__device__ __forceinline__ bool beyond_frames(const RowTotals& totals, int r) {
  return beyond_frames(totals.frame[r], totals.sum[r]);
}

// Where the results of a row go.
template <typename Config>
struct ResultPlaces {
  const Params& params;
  const PieceWork& piece;

  __device__ __forceinline__ int32_t packed(int row) const {  // of the tile
    return piece.row_tile * Config::kTileRows + row;
  }
  __device__ __forceinline__ bool exists(int row) const {
    return packed(row) < piece.item.num_queries * static_cast<int32_t>(params.group.value);
  }
  __device__ __forceinline__ int64_t offset(const RowPlace& place, int64_t stride_sequence,
                                            int64_t stride_token, int64_t stride_head) const {
    return piece.item.sequence * stride_sequence +
           (piece.item.token_of_sequence + place.token) * stride_token + place.head * stride_head;
  }
  __device__ __forceinline__ uint16_t* out_row(int row) const {
    return static_cast<uint16_t*>(params.out) +
           offset(place_of(params, packed(row)), params.out_stride_sequence,
                  params.out_stride_token, params.out_stride_head);
  }
  // A row of the partial's slot; the slot holds a row group.
  __device__ __forceinline__ bool in_slot(int row) const {
    return tile_of_group() * Config::kTileRows + row < params.partials.rows_per_head;
  }
  __device__ __forceinline__ int64_t slot_row(int row) const {
    return params.partials.row_index(piece.partial, block_kv_head(),
                                     tile_of_group() * Config::kTileRows + row);
  }

  // What the sum of a whole item's row has to be for its output: an attention sink takes part in
  // it, and has no value.
  __device__ __forceinline__ float sum_with_sink(int row, float frame, float sum) const {
    if (params.sinks == nullptr) return sum;
    const RowPlace place = place_of(params, packed(row));
    return sum + exp2f(params.sinks[place.head] * std::numbers::log2e_v<float> - frame);
  }

  __device__ __forceinline__ void write_statistics(int row, float frame, float sum,
                                                   float top) const {
    const RowPlace place = place_of(params, packed(row));
    if (params.lse != nullptr) {
      params.lse[offset(place, params.lse_stride_sequence, params.lse_stride_token,
                        params.lse_stride_head)] =
          sum == 0.0F ? params.empty_lse : (frame + log2f(sum)) * params.lse_factor;
    }
    if (params.max_logits != nullptr) {
      params.max_logits[offset(place, params.max_logits_stride_sequence,
                               params.max_logits_stride_token, params.max_logits_stride_head)] =
          sum != sum ? sum : top * std::numbers::ln2_v<float>;
    }
  }
};

}  // namespace seesaw::attention::device
