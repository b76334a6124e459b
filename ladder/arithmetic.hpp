// Scalars that host and device share: bfloat16 as bits, and the softmax's constants.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "base/host_device.hpp"
#include "base/math.hpp"
#include "ladder/problem.hpp"

namespace seesaw::ladder {

inline constexpr float kLog2E = 1.4426950408889634F;

SEESAW_HOST_DEVICE inline float float_of_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof(value));
  return value;
}

SEESAW_HOST_DEVICE inline float to_float(Bf16 value) {
  return float_of_bits(static_cast<uint32_t>(value) << 16);
}

// The two halves of a 32-bit word that holds two bfloat16 values; the low half comes first.
SEESAW_HOST_DEVICE inline float low_half(uint32_t pair) { return float_of_bits(pair << 16); }
SEESAW_HOST_DEVICE inline float high_half(uint32_t pair) {
  return float_of_bits(pair & 0xFFFF0000U);
}

// To nearest, ties to even; a NaN stays one.
SEESAW_HOST_DEVICE inline Bf16 to_bf16(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) {
    return static_cast<Bf16>((bits >> 16) | 0x40U);
  }
  return static_cast<Bf16>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

SEESAW_HOST_DEVICE inline uint32_t pack_bf16(float low, float high) {
  return static_cast<uint32_t>(to_bf16(low)) | (static_cast<uint32_t>(to_bf16(high)) << 16);
}

// Sixteen bytes: eight bfloat16 values, the widest load a thread can make.
struct alignas(16) Eight {
  uint32_t pairs[4];
};

// sum += a . b over eight columns.
SEESAW_HOST_DEVICE inline float dot_eight(const Eight& a, const Eight& b, float sum) {
  for (int i = 0; i < 4; ++i) {
    sum = fmaf(low_half(a.pairs[i]), low_half(b.pairs[i]), sum);
    sum = fmaf(high_half(a.pairs[i]), high_half(b.pairs[i]), sum);
  }
  return sum;
}

// Finite, below any score that float can hold a softmax of: the maximum of no tokens.
inline constexpr float kNoMaximum = -1.0e30F;

}  // namespace seesaw::ladder
