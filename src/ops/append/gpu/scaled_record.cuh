// Columns with scales: a group's greatest magnitude by shuffles, its scale, its elements. The
// numbers are those of ../README.md.
#pragma once

#include <cstring>
#include <type_traits>

#include "gpu/ptx/arithmetic.cuh"
#include "gpu/ptx/convert.cuh"
#include "ops/append/gpu/record.cuh"

namespace seesaw::append::gpu {

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
template <Access kAccess, typename T>
__device__ Pair rope_of_lane(const AppendParams& p, int64_t token, const T* from, int lane) {
  if (p.rotary.rotary == SEESAW_ROTARY_NONE) {
    T pair[kLaneRope];
    load<kAccess, kLaneRope>(from + kLaneRope * lane, pair);
    return {float_from(pair[0]), float_from(pair[1])};
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

// A lane's columns, and the greatest magnitude among them if all are finite.
template <int kCount>
struct LaneValues {
  float value[kCount];
  float greatest;
  bool finite;
};

template <int kCount>
__device__ float greatest_magnitude(const float (&values)[kCount]) {  // NaN if one is NaN
  float greatest = 0.0F;
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    greatest = seesaw::ptx::max_or_nan(greatest, fabsf(values[i]));
  }
  return greatest;
}

// [1] A lane's latent columns as they are loaded. A lane behind the last column has that one's:
// they change no maximum, and nobody stores them.
template <typename T>
struct LatentColumns {
  static constexpr int kOfWord = 4 / static_cast<int>(sizeof(T));
  static constexpr int kWords = kLaneLatent / kOfWord;
  uint32_t word[kWords];

  template <Access kAccess>
  __device__ void load_from(const T* latent, int32_t count, int lane) {
    const int32_t column = min(lane * kLaneLatent, count - kLaneLatent);
    if constexpr (kAccess == Access::kUnits) {
      load<kAccess, kWords>(reinterpret_cast<const uint32_t*>(latent + column), word);
    } else {
      T elements[kLaneLatent];
      load<kAccess, kLaneLatent>(latent + column, elements);
      memcpy(word, elements, sizeof(word));
    }
  }

  __device__ LaneValues<kLaneLatent> values() const {
    LaneValues<kLaneLatent> of;
    if constexpr (kOfWord == 1) {
      memcpy(of.value, word, sizeof(word));
      of.greatest = greatest_magnitude(of.value);
      of.finite = bits_of(of.greatest) < float8::kInfinity;
    } else {
      of.greatest = greatest_of_pairs();
      of.finite = bits_of(of.greatest) < float8::kInfinity;
      unpack_pairs(of.finite, of.value);
    }
    return of;
  }

 private:
  __device__ float greatest_of_pairs() const {
    uint32_t pair = 0;
#pragma unroll
    for (int i = 0; i < kWords; ++i) {
      pair = seesaw::ptx::max_or_nan_of_magnitudes<T>(pair, word[i] & 0x7FFF7FFFu);
    }
    const float2 both = seesaw::ptx::unpack<T>(pair);
    return seesaw::ptx::max_or_nan(both.x, both.y);
  }

  __device__ void unpack_pairs(bool finite, float (&to)[kLaneLatent]) const {
#pragma unroll
    for (int i = 0; i < kWords; ++i) {
      const float2 pair = seesaw::ptx::unpack<T>(word[i]);
      to[2 * i] = pair.x;
      to[2 * i + 1] = pair.y;
    }
    if constexpr (std::is_same_v<T, __half>) {
      if (finite) {
        return;
      }
#pragma unroll
      for (int i = 0; i < kLaneLatent; ++i) {  // a NaN keeps its bits
        to[i] = float_from(seesaw::gpu::from_bits_16<T>(word[i / 2] >> (i % 2 * 16)));
      }
    }
  }
};

// Two rotary columns of a lane.
__device__ inline LaneValues<kLaneRope> values_of(const Pair& pair) {
  LaneValues<kLaneRope> of;
  of.value[0] = pair.x;
  of.value[1] = pair.y;
  of.greatest = greatest_magnitude(of.value);
  of.finite = bits_of(of.greatest) < float8::kInfinity;
  return of;
}

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

// [3] The scale of a group of `lanes` lanes, of which the one with the group's first column stores
// it.
template <Access kAccess>
__device__ float scale_lanes(const AppendParams& p, int64_t token, int32_t column, int lanes,
                             uint32_t key, uint8_t* scales) {
  const RecordParams& record = p.record;
  const uint32_t greatest = greatest_of_lanes(key, lanes);
  const int32_t last = record.scaled_columns - 1;
  const int32_t group = record.one_scale ? 0 : min(column, last) >> record.scale_group_log2;
  const StoredScale scale = scale_of(p, token, group, greatest);
  if (column == group << record.scale_group_log2) {
    store_scale_at<kAccess>(record.scales, group, scale.bits, scales);
  }
  return scale.value;
}

// [3] The scales of a lane's columns.
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
  uint32_t key = greatest_key(latent, type);
  const uint32_t rope_key = record.scales_rope() ? greatest_key(rope, type) : 0;
  if (record.one_scale) {
    key = max(key, rope_key);
  }
  LaneScales of = {};
  of.latent =
      scale_lanes<kAccess>(p, token, lane * kLaneLatent, record.latent_group_lanes, key, scales);
  of.rope = of.latent;
  if (record.scales_rope() && !record.one_scale) {
    of.rope = scale_lanes<kAccess>(p, token, record.latent.count + lane * kLaneRope,
                                   record.rope_group_lanes, rope_key, scales);
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

// `number(i)` as byte i of words, or of a half of one.
template <int kCount, typename Word, typename Number>
__device__ void pack_bytes(Word* words, Number number) {
  constexpr int kOfWord = static_cast<int>(sizeof(Word));
#pragma unroll
  for (int w = 0; w < kCount / kOfWord; ++w) {
    uint32_t word = 0;
#pragma unroll
    for (int i = 0; i < kOfWord; ++i) {
      word |= (number(w * kOfWord + i) & 0xFFu) << (8 * i);
    }
    words[w] = static_cast<Word>(word);
  }
}

// int8 of a quotient that is a number, as to_int8 has it, in the low byte: the sum's last bit is 1.
__device__ inline uint32_t int8_of_number(float quotient) {
  return bits_of(fminf(fmaxf(quotient, -kLargestInt8), kLargestInt8) + 0x1.8p23F);
}

// Elements of a byte each.
template <int kCount, typename Word>
__device__ void to_bytes(const float* quotients, bool numbers, ElementType type, Word* words) {
  if (!numbers) {
    pack_bytes<kCount>(words, [&](int i) { return to_element(quotients[i], type); });
  } else if (type == ElementType::kInt8) {
    pack_bytes<kCount>(words, [&](int i) { return int8_of_number(quotients[i]); });
  } else if constexpr (kCount % 4 == 0) {
#pragma unroll
    for (int i = 0; i < kCount; i += 4) {
      words[i / 4] = seesaw::ptx::pack_e4m3(quotients[i], quotients[i + 1], quotients[i + 2],
                                            quotients[i + 3]);
    }
  } else {
    *words = static_cast<Word>(seesaw::ptx::pack_e4m3(quotients[0], quotients[1]));
  }
}

// [4] kCount neighbouring columns, from byte `to`. Returns how many were too large, if asked.
template <Access kAccess, int kCount>
__device__ int quantize_columns(const AppendParams& p, const LaneValues<kCount>& values,
                                float scale, uint8_t* to) {
  static_assert(kCount % 4 == 0 || kCount == 2);
  const ElementType type = p.record.latent.type;
  const Quotients by(scale);
  float quotients[kCount];
  by.of(values, quotients);
  if (type == ElementType::kFloat4E2M1) {
    uint8_t pairs[kCount / 2];
    pack_bytes<kCount / 2>(pairs, [&](int i) {
      return to_e2m1(quotients[2 * i]) | static_cast<uint32_t>(to_e2m1(quotients[2 * i + 1])) << 4;
    });
    store<kAccess, kCount / 2>(pairs, to);
  } else {
    using Word = std::conditional_t<kCount == 2, uint16_t, uint32_t>;
    constexpr int kWords = kCount / static_cast<int>(sizeof(Word));
    Word words[kWords];
    to_bytes<kCount>(quotients, by.numbers(values), type, words);
    store<kAccess, kWords>(words, to);
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

// `rope`: of a lane, where it has scales.
template <Access kAccess, typename T>
__device__ int quantize_record(const AppendParams& p, int64_t token, const LatentColumns<T>& latent,
                               const Pair& rope, const RecordAt& at, int lane) {
  const RecordParams& record = p.record;
  const LaneValues<kLaneLatent> values = latent.values();
  const LaneValues<kLaneRope> turned = values_of(rope);
  const bool rope_scaled = record.scales_rope();
  const LaneScales scales =
      scale_record<kAccess>(p, token, values, turned, at.segment(record.scales), lane);
  const int32_t bits = bits_of(record.latent.type);
  int saturated = 0;
  if (lane * kLaneLatent < record.latent.count) {
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
