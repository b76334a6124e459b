// The combine's arithmetic: pieces of a row weighed and added up, and stored.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cmath>
#include <numbers>

#include "gpu/combine_work.cuh"

namespace seesaw::gpu::combine {

inline constexpr unsigned kAllLanes = 0xFFFFFFFFu;
inline constexpr float kLog2E = std::numbers::log2e_v<float>;
inline constexpr float kLn2 = std::numbers::ln2_v<float>;

// A unit's eight columns.
struct Columns {
  float value[kPartialUnitElements];
};

// Frame and sum of a run of pieces of one row. See partials.hpp.
struct Totals {
  float frame = kEmptyFrame;
  float sum = 0.0F;

  // Moves to another frame; returns what else is in the old one has to be multiplied by.
  __device__ float move_to(float new_frame) {
    const float factor = exp2f(frame - new_frame);
    frame = new_frame;
    sum *= factor;
    return factor;
  }
};

// What a run of pieces of one row adds up to; `out` is one unit of it.
struct Merged {
  Totals totals;
  Columns out = {};

  __device__ void scale(float factor) {
#pragma unroll
    for (float& value : out.value) value *= factor;
  }

  __device__ void add_weighted(float weight, const uint4& unit) {
    const uint32_t words[4] = {unit.x, unit.y, unit.z, unit.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float2 pair = __half22float2(reinterpret_cast<const __half2&>(words[i]));
      out.value[2 * i] += weight * pair.x;
      out.value[2 * i + 1] += weight * pair.y;
    }
  }

  __device__ void add_weighted(float weight, const Columns& other) {
#pragma unroll
    for (int i = 0; i < kPartialUnitElements; ++i) out.value[i] += weight * other.value[i];
  }
};

// Loads one unit of pieces [begin, end), at most kPieces; zeros for the rest.
template <int kPieces>
__device__ void load_units(const Params& p, const SplitItem& split, int32_t begin, int32_t end,
                           int32_t unit, uint4 (&out)[kPieces]) {
  const Slots slots = slots_from(p, split, begin);
  const uint4* from = p.partial_out + int64_t{slots.first} * p.units + unit;
#pragma unroll
  for (int k = 0; k < kPieces; ++k) {
    out[k] = begin + k < end ? __ldcg(from) : uint4{0, 0, 0, 0};
    from += (k == 0 ? slots.second - slots.first : slots.step) * int64_t{p.units};
  }
}

// Statistics of a block of a row.
struct Stat {
  float frame = kEmptyFrame;
  float sum = 0.0F;
  float unscale = 0.0F;
};

__device__ inline Stat load_stat(const Params& p, const SplitItem& split, int32_t piece,
                                 int32_t unit) {
  const int64_t block_of_slot = unit >> p.log2_block_units;
  const float4 v = __ldcg(reinterpret_cast<const float4*>(p.partial_stat) +
                          int64_t{slots_from(p, split, piece).first} * p.blocks + block_of_slot);
  return {v.x, v.y, v.z};
}

// Largest value, and sum, over groups of kLanes neighbouring lanes, for all of them.
template <int kLanes>
__device__ float max_of_lanes(float value) {
#pragma unroll
  for (int step = kLanes / 2; step > 0; step /= 2) {
    value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, step));
  }
  return value;
}

template <int kLanes>
__device__ float sum_of_lanes(float value) {
#pragma unroll
  for (int step = kLanes / 2; step > 0; step /= 2) {
    value += __shfl_xor_sync(kAllLanes, value, step);
  }
  return value;
}

// Every lane brings the frame and sum of one of kLanes parts (or of nothing: kEmptyFrame, 0) and
// gets its weight. `totals` moves to their common frame, by `factor`, and has their sums added. A
// NaN frame is dropped by the maximum, but not by the weight.
struct Weighed {
  float weight;
  float factor;
};
template <int kLanes>
__device__ Weighed weigh(float frame, float sum, Totals* totals) {
  const float factor = totals->move_to(fmaxf(totals->frame, max_of_lanes<kLanes>(frame)));
  const float weight = exp2f(frame - totals->frame);
  totals->sum += sum_of_lanes<kLanes>(weight * sum);
  return {weight, factor};
}

__device__ inline __nv_bfloat162 pair_of(float x, float y, __nv_bfloat16) {
  return __floats2bfloat162_rn(x, y);
}
__device__ inline __half2 pair_of(float x, float y, __half) { return __floats2half2_rn(x, y); }

// How out is stored: elements, and whether two neighbouring columns at a time, which d_v, strides
// and address have to allow.
enum class Stores { kPairs, kSingle };
// kExtras: items that are parts of sequences or ragged, sinks, largest scores. What has none of
// them does not pay for them.
template <typename ElementType, Stores kStoresValue, bool kExtrasValue>
struct Output {
  using Element = ElementType;
  static constexpr Stores kStores = kStoresValue;
  static constexpr bool kExtras = kExtrasValue;
};

// The row of the output that a row of an item is.
struct OutputRow {
  int32_t sequence;
  int32_t token;  // of the sequence; ragged: of the whole call
  int32_t head;
  bool exists;

  __device__ int64_t offset(const int64_t (&stride)[3]) const {  // [b, s_q, h_q]
    return sequence * stride[0] + token * stride[1] + head * stride[2];
  }
  __device__ int64_t statistic(const int64_t (&stride)[3]) const {  // [b, h_q, s_q]
    return sequence * stride[0] + head * stride[1] + token * stride[2];
  }
};

template <typename Output>
__device__ OutputRow output_row(const Params& p, const SplitItem& split, int32_t kv_head,
                                int32_t row) {
  const int32_t token = p.group.divide(row);
  OutputRow found;
  found.sequence = split.sequence;
  found.token = token;
  found.head = kv_head * static_cast<int32_t>(p.group.value) + p.group.remainder(row, token);
  found.exists = row < p.rows;
  if constexpr (Output::kExtras) {
    found.sequence = p.items_per_sequence.divide(split.sequence);
    found.token += p.items_per_sequence.remainder(split.sequence, found.sequence);
    if (p.query_begin != nullptr) {
      const int32_t begin = p.query_begin[split.sequence];
      found.exists = found.exists && token < p.query_begin[split.sequence + 1] - begin;
      found.token = begin + token;
    }
  }
  return found;
}

// The largest score of a row that the first unit of its first block belongs to.
__device__ inline float top_of(const Params& p, const SplitItem& split, int32_t block_of_slot) {
  float top = -INFINITY;
  for (int32_t piece = 0; piece < split.num_pieces; ++piece) {
    const int64_t slot = slots_from(p, split, piece).first;
    top = fmaxf(top, p.partial_stat[slot * p.blocks + block_of_slot].top);
  }
  return top;
}

template <typename Output>
__device__ void store_unit(const Params& p, const SplitItem& split, int32_t unit,
                           const Merged& merged) {
  const int32_t block = unit >> p.log2_block_units;
  const int32_t flat_row = p.blocks_per_row.divide(block);
  const int32_t unit_of_row =
      unit - ((flat_row * static_cast<int32_t>(p.blocks_per_row.value)) << p.log2_block_units);
  const int column = partial_column(unit_of_row, 0);
  const int32_t kv_head = p.rows_per_head.divide(flat_row);
  const int32_t row = split.row_group * static_cast<int32_t>(p.rows_per_head.value) +
                      p.rows_per_head.remainder(flat_row, kv_head);
  const OutputRow place = output_row<Output>(p, split, kv_head, row);
  if (!place.exists) return;
  // Scores of -inf weigh nothing, but meet infinite values as 0 x infinity: NaN, unless there is
  // nothing else.
  const bool empty = merged.totals.sum == 0.0F;
  float sum = merged.totals.sum;
  if (Output::kExtras && p.sinks != nullptr)
    sum += exp2f(p.sinks[place.head] * kLog2E - merged.totals.frame);
  const float factor = 1.0F / sum;
  using Element = typename Output::Element;
  auto* out = static_cast<Element*>(p.out) + place.offset(p.out_stride) + column;
#pragma unroll
  for (int e = 0; e < kPartialUnitElements; e += 2) {
    const auto pair = pair_of(empty ? 0.0F : merged.out.value[e] * factor,
                              empty ? 0.0F : merged.out.value[e + 1] * factor, Element{});
    Element* to = out + partial_column(0, e);
    if constexpr (Output::kStores == Stores::kPairs) {
      *reinterpret_cast<decltype(pair_of(0.0F, 0.0F, Element{}))*>(to) = pair;
    } else {
      const int left = p.d_v - column - partial_column(0, e);
      if (left > 0) to[0] = pair.x;
      if (left > 1) to[1] = pair.y;
    }
  }
  if (unit_of_row != 0) return;
  if (p.lse != nullptr) {
    const float log2_sum = merged.totals.frame + log2f(merged.totals.sum);
    p.lse[place.statistic(p.lse_stride)] = empty ? p.empty_lse : log2_sum * p.lse_factor;
  }
  if (Output::kExtras && p.max_logits != nullptr) {
    const float total = merged.totals.sum;
    p.max_logits[place.statistic(p.max_logits_stride)] =
        total != total ? total : top_of(p, split, block) * kLn2;
  }
}

}  // namespace seesaw::gpu::combine
