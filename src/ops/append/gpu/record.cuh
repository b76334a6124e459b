// A warp writes the record of a token. The numbers are those of ../README.md.
#pragma once

#include "ops/append/gpu/tokens.cuh"

namespace seesaw::append::gpu {

// Of records with scales: a lane has 16 neighbouring latent columns and 2 rotary ones.
constexpr int kLaneLatent = 16;
constexpr int kLaneRope = 2;
constexpr int kLanes = 32;

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

struct RecordAt {
  uint8_t* row;
  uint8_t* tail;

  __device__ uint8_t* segment(const Segment& segment) const {
    return (segment.place == Place::kRow ? row : tail) + segment.offset;
  }
};

__device__ inline RecordAt record_at(const AppendParams& p, int64_t slot) {
  const int64_t page = slot / p.page_size;
  const int64_t place = slot - page * p.page_size;
  uint8_t* const begin = p.cache + page * p.page_stride_bytes;
  return {begin + place * p.row_stride_bytes,
          begin + p.page_size * p.record.row_bytes + place * p.record.tail_bytes};
}

// ---- plain segments

template <Access kAccess, int kCount, typename To, typename From>
__device__ void convert(const From* elements, void* to) {
  To converted[kCount];
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    converted[i] = rounded<To>(float_from(elements[i]));
  }
  store<kAccess, kCount>(converted, to);
}

// kCount elements as elements of `type`, from byte `to`.
template <Access kAccess, int kCount, typename From>
__device__ void store_as(ElementType type, const From* elements, uint8_t* to) {
  switch (type) {
    case ElementType::kBFloat16:
      return convert<kAccess, kCount, __nv_bfloat16>(elements, to);
    case ElementType::kFloat16:
      return convert<kAccess, kCount, __half>(elements, to);
    default:
      return convert<kAccess, kCount, float>(elements, to);
  }
}

template <typename T>
__device__ constexpr ElementType type_of();
template <>
__device__ constexpr ElementType type_of<float>() {
  return ElementType::kFloat32;
}
template <>
__device__ constexpr ElementType type_of<__nv_bfloat16>() {
  return ElementType::kBFloat16;
}
template <>
__device__ constexpr ElementType type_of<__half>() {
  return ElementType::kFloat16;
}

// [4] `segment` of elements as they arrived: those of the same type keep their bits.
template <Access kAccess, typename T>
__device__ void copy_segment(const Segment& segment, const T* from, uint8_t* to, int lane) {
  constexpr int kCount = kAccess == Access::kUnits ? 8 : 1;
  const int32_t element_bytes = bits_of(segment.type) / 8;
  for (int32_t column = lane * kCount; column < segment.count; column += kLanes * kCount) {
    T elements[kCount];
    load<kAccess, kCount>(from + column, elements);
    uint8_t* const at = to + int64_t{column} * element_bytes;
    if (segment.type == type_of<T>()) {
      store<kAccess, kCount>(elements, at);
    } else {
      store_as<kAccess, kCount>(segment.type, elements, at);
    }
  }
}

// [2][4] The rotary key into a plain segment, a lane a pair.
template <typename T>
__device__ void turn_segment(const AppendParams& p, int64_t token, const T* from, uint8_t* to,
                             int lane) {
  const Angles angles = angles_of(p.rotary, token);
  const ElementType type = p.record.rotary.type;
  const int32_t element_bytes = bits_of(type) / 8;
  for (int32_t pair = lane; pair < p.rotary.d_rope / 2; pair += kLanes) {
    const PairColumns at = columns_of_pair(p.rotary.rotary, p.rotary.d_rope, pair);
    const Pair turned = angles.turned({float_from(from[at.x]), float_from(from[at.y])}, pair);
    store_as<Access::kElements, 1>(type, &turned.x, to + at.x * element_bytes);
    store_as<Access::kElements, 1>(type, &turned.y, to + at.y * element_bytes);
  }
}

template <Access kAccess, typename T>
__device__ void write_rope(const AppendParams& p, int64_t token, const T* from, uint8_t* to,
                           int lane) {
  if (p.rotary.rotary != SEESAW_ROTARY_NONE) {
    turn_segment(p, token, from, to, lane);
  } else {
    copy_segment<kAccess>(p.record.rotary, from, to, lane);
  }
}

// ---- segments with scales

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
__device__ LaneScales scale_record(const AppendParams& p, int64_t token, const float* latent,
                                   const Pair& rope, uint8_t* scales, int lane) {
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
  uint32_t key = 0;
#pragma unroll
  for (int i = 0; i < kLaneLatent; ++i) {
    const uint32_t other = key_of(latent[i], type);
    key = other > key ? other : key;
  }
  const uint32_t key_x = key_of(rope.x, type);
  const uint32_t key_y = key_of(rope.y, type);
  uint32_t rope_key = !rope_scaled ? 0 : key_x > key_y ? key_x : key_y;
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

// [4] kCount neighbouring columns, from byte `to`. Returns how many were too large.
template <Access kAccess, int kCount>
__device__ int quantize_columns(const float* values, float scale, ElementType type, uint8_t* to) {
  const bool nibbles = type == ElementType::kFloat4E2M1;
  uint8_t bytes[kCount];
  int saturated = 0;
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    bytes[i] = static_cast<uint8_t>(quantize(values[i], scale, type));
    saturated += saturates(values[i], scale, type) ? 1 : 0;
  }
  if (!nibbles) {
    store<kAccess, kCount>(bytes, to);
    return saturated;
  }
  uint8_t pairs[kCount / 2];
#pragma unroll
  for (int i = 0; i < kCount / 2; ++i) {
    pairs[i] = static_cast<uint8_t>(bytes[2 * i] | bytes[2 * i + 1] << 4);
  }
  store<kAccess, kCount / 2>(pairs, to);
  return saturated;
}

template <Access kAccess, typename T>
__device__ int quantize_record(const AppendParams& p, int64_t token, const T* latent, const T* rope,
                               const RecordAt& at, int lane) {
  const RecordParams& record = p.record;
  const bool holds = lane * kLaneLatent < record.latent.count;
  float values[kLaneLatent] = {};
  if (holds) {  // [1]
    T elements[kLaneLatent];
    load<kAccess, kLaneLatent>(latent + lane * kLaneLatent, elements);
#pragma unroll
    for (int i = 0; i < kLaneLatent; ++i) {
      values[i] = float_from(elements[i]);
    }
  }
  Pair turned = {0.0F, 0.0F};
  const bool rope_scaled = record.scaled_columns > record.latent.count;
  if (rope_scaled) {
    turned = rope_of_lane(p, token, rope, lane);  // [2]
  } else if (record.rotary.count > 0) {
    write_rope<kAccess>(p, token, rope, at.segment(record.rotary), lane);
  }
  const LaneScales scales =
      scale_record<kAccess>(p, token, values, turned, at.segment(record.scales), lane);
  const ElementType type = record.latent.type;
  const int32_t bits = bits_of(type);
  int saturated = 0;
  if (holds) {
    saturated += quantize_columns<kAccess, kLaneLatent>(
        values, scales.latent, type, at.segment(record.latent) + lane * kLaneLatent * bits / 8);
  }
  if (rope_scaled) {
    const float pair[kLaneRope] = {turned.x, turned.y};
    saturated += quantize_columns<kAccess, kLaneRope>(
        pair, scales.rope, type, at.segment(record.rotary) + lane * kLaneRope * bits / 8);
  }
  return saturated;
}

}  // namespace seesaw::append::gpu
