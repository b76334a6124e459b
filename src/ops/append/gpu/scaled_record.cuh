// Columns with scales: a group's greatest magnitude by shuffles, its scale, its elements. The
// numbers are those of ../README.md.
#pragma once

#include "gpu/ptx/arithmetic.cuh"
#include "gpu/ptx/convert.cuh"
#include "ops/append/gpu/record.cuh"

namespace seesaw::append::gpu {

// Of records with scales: a lane has 16 neighbouring latent columns and 2 rotary ones.
constexpr int kLaneLatent = 16;
constexpr int kLaneRope = 2;

constexpr bool warp_holds(const CacheFormat& format) {
  const int32_t group = format.scale_group;
  const bool lanes =
      group % kLaneLatent == 0 && (group & (group - 1)) == 0 && format.latent.count % group == 0;
  const bool whole = format.tensor_scale || group > format.latent.count;
  return format.latent.count <= kLanes * kLaneLatent && format.latent.count % kLaneLatent == 0 &&
         (format.rotary.count == 0 || format.rotary.count == kLanes * kLaneRope) &&
         (lanes || whole);
}
constexpr bool warp_holds_all() {
  for (const CacheFormat& format : kByteFormats) {
    if (!warp_holds(format)) {
      return false;
    }
  }
  return true;
}
static_assert(warp_holds_all());

// Columns 2 * lane and 2 * lane + 1 of the rotary key, turned.
template <typename T>
__device__ Pair rope_of_lane(const AppendParams& p, int64_t token, const T* from, int lane) {
  if (p.rotary.rotary == SEESAW_ROTARY_NONE) {
    return {float_from(from[2 * lane]), float_from(from[2 * lane + 1])};
  }
  const PairColumns at = columns_of_pair(p.rotary.rotary, p.rotary.d_rope, lane);
  const Pair turned =
      angles_of(p.rotary, token).turned({float_from(from[at.x]), float_from(from[at.y])}, lane);
  if (p.rotary.rotary == SEESAW_ROTARY_INTERLEAVED) {
    return turned;
  }
  // Half-split: the first 16 lanes take two pairs' x, the others two pairs' y.
  const int source = 2 * lane % kLanes;
  const Pair first = {__shfl_sync(~0U, turned.x, source), __shfl_sync(~0U, turned.y, source)};
  const Pair second = {__shfl_sync(~0U, turned.x, source + 1),
                       __shfl_sync(~0U, turned.y, source + 1)};
  return lane < kLanes / 2 ? Pair{first.x, second.x} : Pair{first.y, second.y};
}

// Bits of magnitudes are ordered as they are. Infinities do not count; NaN comes last, where the
// group's scale has to tell it.
__device__ inline uint32_t key_of(float value, ElementType type) {
  const uint32_t bits = bits_of(value) & ~float8::kSign;
  const bool counts = bits < float8::kInfinity || (!has_nan(type) && bits > float8::kInfinity);
  return counts ? bits : 0;
}

// A lane's columns, and their greatest magnitude if all of them are finite.
template <int kCount>
struct LaneValues {
  float value[kCount];
  float greatest;
  bool finite;

  // When `value` is set.
  __device__ void look() {
    greatest = 0.0F;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      greatest = seesaw::ptx::max_or_nan(greatest, fabsf(value[i]));
    }
    finite = bits_of(greatest) < float8::kInfinity;
  }
};

// [3] The greatest key of a lane's columns.
template <int kCount>
__device__ uint32_t greatest_key(const LaneValues<kCount>& values, ElementType type) {
  if (values.finite) {
    return bits_of(values.greatest);
  }
  uint32_t greatest = 0;
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    const uint32_t key = key_of(values.value[i], type);
    greatest = key > greatest ? key : greatest;
  }
  return greatest;
}

__device__ inline uint32_t greatest_of_lanes(uint32_t key, int lanes) {
  for (int step = 1; step < lanes; step *= 2) {
    const uint32_t other = __shfl_xor_sync(~0U, key, step);
    key = other > key ? other : key;
  }
  return key;
}

// What a lane's columns are divided by.
struct LaneScales {
  float latent;
  float rope;
};

__device__ inline StoredScale scale_of(const AppendParams& p, int64_t token, int32_t group,
                                       uint32_t greatest) {
  const ElementType type = p.record.scales.type;
  if (greatest > float8::kInfinity) {
    return nan_scale(type);
  }
  if (p.scales.rule != ScaleRule::kGiven) {
    return computed_scale(float_of(greatest), p.record.latent.type, type, p.scales.rule);
  }
  const float given = p.scales.given[token * p.scales.given_stride + group];
  return is_scale(given) ? store_scale(given, type) : nan_scale(type);
}

template <Access kAccess>
__device__ void store_scale_at(const Segment& scales, int32_t group, uint32_t bits, uint8_t* to) {
  if (bits_of(scales.type) == 32) {
    store<kAccess, 1>(&bits, to + 4 * group);
  } else {
    to[group] = static_cast<uint8_t>(bits);
  }
}

// [3] The scales of a lane's columns, of which the first lane of each group stores it.
template <Access kAccess>
__device__ LaneScales scale_record(const AppendParams& p, int64_t token,
                                   const LaneValues<kLaneLatent>& latent,
                                   const LaneValues<kLaneRope>& rope, uint8_t* scales, int lane) {
  const RecordParams& record = p.record;
  if (record.tensor_scale) {
    const float scale = p.scales.kv_scale == nullptr ? 1.0F : *p.scales.kv_scale;
    const float valid = is_scale(scale) ? scale : float_of(float8::kNaN);
    return {valid, valid};
  }
  const ElementType type = record.latent.type;
  const int32_t latents = record.latent.count;
  const int32_t group = record.scale_group;
  const bool rope_scaled = record.scaled_columns > latents;
  uint32_t key = greatest_key(latent, type);
  uint32_t rope_key = rope_scaled ? greatest_key(rope, type) : 0;
  const bool whole = group > latents;  // one group of all columns
  if (whole) {
    key = greatest_of_lanes(rope_key > key ? rope_key : key, kLanes);
  } else {
    key = greatest_of_lanes(key, group / kLaneLatent);
    rope_key = greatest_of_lanes(rope_key, rope_scaled ? group / kLaneRope : 1);
  }
  LaneScales of = {1.0F, 1.0F};
  const int32_t column = lane * kLaneLatent;
  if (whole || column < latents) {
    const StoredScale scale = scale_of(p, token, whole ? 0 : column / group, key);
    of.latent = scale.value;
    if (whole ? lane == 0 : column % group == 0) {
      store_scale_at<kAccess>(record.scales, whole ? 0 : column / group, scale.bits, scales);
    }
  }
  if (whole) {
    of.rope = of.latent;
  } else if (rope_scaled) {
    const int32_t rope_column = latents + lane * kLaneRope;
    const StoredScale scale = scale_of(p, token, rope_column / group, rope_key);
    of.rope = scale.value;
    if (rope_column % group == 0) {
      store_scale_at<kAccess>(record.scales, rope_column / group, scale.bits, scales);
    }
  }
  return of;
}

// Quotients by one scale. Of a power of two the inverse is exact, and the product is rounded as the
// quotient is.
struct Quotients {
  float scale;
  float inverse;  // 0: divide

  __device__ explicit Quotients(float by) : scale(by) {
    const uint32_t bits = bits_of(by);
    const bool power = (bits & 0x7FFFFFu) == 0 && bits >= 1u << 23 && bits <= 253u << 23;
    inverse = power ? float_of((254u << 23) - bits) : 0.0F;
  }

  // Whether quotients of such values are no NaN.
  template <int kCount>
  __device__ bool numbers(const LaneValues<kCount>& values) const {
    return values.finite && is_scale(scale);
  }

  template <int kCount>
  __device__ void of(const LaneValues<kCount>& values, float* quotients) const {
    if (values.finite && inverse != 0.0F) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        quotients[i] = values.value[i] * inverse;
      }
    } else {
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        quotients[i] = quotient_of(values.value[i], scale);
      }
    }
  }
};

template <int kCount>
__device__ void to_elements(const float* quotients, bool numbers, ElementType type,
                            uint8_t* elements) {
  if (type == ElementType::kFloat8E4M3 && numbers) {
#pragma unroll
    for (int i = 0; i < kCount; i += 2) {
      const uint32_t pair = seesaw::ptx::pack_e4m3(quotients[i], quotients[i + 1]);
      elements[i] = static_cast<uint8_t>(pair);
      elements[i + 1] = static_cast<uint8_t>(pair >> 8);
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    elements[i] = static_cast<uint8_t>(to_element(quotients[i], type));
  }
}

// [4] kCount neighbouring columns, from byte `to`. Returns how many were too large, if asked.
template <Access kAccess, int kCount>
__device__ int quantize_columns(const AppendParams& p, const LaneValues<kCount>& values,
                                float scale, uint8_t* to) {
  const ElementType type = p.record.latent.type;
  const Quotients by(scale);
  float quotients[kCount];
  by.of(values, quotients);
  uint8_t elements[kCount];
  to_elements<kCount>(quotients, by.numbers(values), type, elements);
  if (type == ElementType::kFloat4E2M1) {
    uint8_t pairs[kCount / 2];
#pragma unroll
    for (int i = 0; i < kCount / 2; ++i) {
      pairs[i] = static_cast<uint8_t>(elements[2 * i] | elements[2 * i + 1] << 4);
    }
    store<kAccess, kCount / 2>(pairs, to);
  } else {
    store<kAccess, kCount>(elements, to);
  }
  int saturated = 0;
  if (p.scales.saturated != nullptr) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      saturated += is_too_large(quotients[i], type) ? 1 : 0;
    }
  }
  return saturated;
}

__device__ inline bool holds_latent(const AppendParams& p, int lane) {
  return lane * kLaneLatent < p.record.latent.count;
}

// [1] A lane's latent columns.
template <typename T>
struct LatentColumns {
  T element[kLaneLatent] = {};
};
template <Access kAccess, typename T>
__device__ LatentColumns<T> load_latent(const AppendParams& p, const T* latent, int lane) {
  LatentColumns<T> columns;
  if (holds_latent(p, lane)) {
    load<kAccess, kLaneLatent>(latent + lane * kLaneLatent, columns.element);
  }
  return columns;
}

template <Access kAccess, typename T>
__device__ int quantize_record(const AppendParams& p, int64_t token, const LatentColumns<T>& latent,
                               const T* rope, const RecordAt& at, int lane) {
  const RecordParams& record = p.record;
  const bool holds = holds_latent(p, lane);
  LaneValues<kLaneLatent> values;
#pragma unroll
  for (int i = 0; i < kLaneLatent; ++i) {
    values.value[i] = float_from(latent.element[i]);
  }
  values.look();
  LaneValues<kLaneRope> turned = {};
  const bool rope_scaled = record.scaled_columns > record.latent.count;
  if (rope_scaled) {
    const Pair pair = rope_of_lane(p, token, rope, lane);  // [2]
    turned.value[0] = pair.x;
    turned.value[1] = pair.y;
    turned.look();
  } else if (record.rotary.count > 0) {
    write_rope<kAccess>(p, token, rope, at.segment(record.rotary), lane);
  }
  const LaneScales scales =
      scale_record<kAccess>(p, token, values, turned, at.segment(record.scales), lane);
  const int32_t bits = bits_of(record.latent.type);
  int saturated = 0;
  if (holds) {
    saturated += quantize_columns<kAccess, kLaneLatent>(
        p, values, scales.latent, at.segment(record.latent) + lane * kLaneLatent * bits / 8);
  }
  if (rope_scaled) {
    saturated += quantize_columns<kAccess, kLaneRope>(
        p, turned, scales.rope, at.segment(record.rotary) + lane * kLaneRope * bits / 8);
  }
  return saturated;
}

}  // namespace seesaw::append::gpu
