// bfloat16 and IEEE binary16 as storage types: exact to float, and from float rounded to nearest
// even. NaN stays NaN, and overflow becomes infinity. For scalar code; kernels convert vectors.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace seesaw {

struct BFloat16 {
  uint16_t bits;
};

struct Float16 {
  uint16_t bits;
};

inline float to_float(float value) { return value; }

inline float to_float(BFloat16 value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16);
}

inline float to_float(Float16 value) {
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000u) << 16;
  const uint32_t exponent = (value.bits >> 10) & 0x1Fu;
  const uint32_t fraction = value.bits & 0x3FFu;
  if (exponent == 0) {  // zero or subnormal: fraction * 2^-24
    const float magnitude = std::ldexp(static_cast<float>(fraction), -24);
    return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
  }
  const uint32_t wide_exponent = exponent == 31 ? 255u : exponent + 112u;
  return std::bit_cast<float>(sign | (wide_exponent << 23) | (fraction << 13));
}

// Rounds to the nearest representable T, ties to even.
template <typename T>
T from_float(float value);

template <>
inline float from_float<float>(float value) {
  return value;
}

template <>
inline BFloat16 from_float<BFloat16>(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) {
    return {static_cast<uint16_t>((bits >> 16) | 0x40u)};  // quiet, payload's top kept
  }
  const uint32_t rounding = 0x7FFFu + ((bits >> 16) & 1u);
  return {static_cast<uint16_t>((bits + rounding) >> 16)};
}

template <>
inline Float16 from_float<Float16>(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  if (std::isnan(value)) {
    return {static_cast<uint16_t>(sign | 0x7E00u)};
  }
  const float magnitude = std::fabs(value);
  if (magnitude >= 65520.0F) {  // halfway to 2^16 and above rounds to infinity
    return {static_cast<uint16_t>(sign | 0x7C00u)};
  }
  if (magnitude < 6.103515625e-05F) {  // below 2^-14: subnormal, a multiple of 2^-24
    const float scaled = std::nearbyint(std::ldexp(magnitude, 24));
    return {static_cast<uint16_t>(sign | static_cast<uint16_t>(scaled))};
  }
  const uint32_t magnitude_bits = std::bit_cast<uint32_t>(magnitude);
  const uint32_t rounded = magnitude_bits + 0xFFFu + ((magnitude_bits >> 13) & 1u);
  return {static_cast<uint16_t>(sign | ((rounded - (112u << 23)) >> 13))};
}

}  // namespace seesaw
