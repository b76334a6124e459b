// Storage types of 8 and 4 bits (OCP Microscaling Formats 1.0, section 5.3; e4m3 as OFP8 defines
// it: no infinities, one NaN pattern a sign). To float all are exact. From float they are rounded
// to nearest even, and magnitudes beyond the largest become the largest. On the CPU and on a GPU.
#pragma once

#include <cstdint>

#include "base/float_bits.hpp"
#include "base/host_device.hpp"

namespace seesaw {

inline constexpr float kLargestE4M3 = 448.0F;
inline constexpr float kLargestE2M1 = 6.0F;
inline constexpr float kLargestInt8 = 127.0F;  // -128 is not written, so that signs are alike

namespace float8 {
inline constexpr uint32_t kSign = 0x80000000u;
inline constexpr uint32_t kInfinity = 0x7F800000u;
inline constexpr uint32_t kNaN = 0x7FC00000u;

SEESAW_HOST_DEVICE inline float magnitude_of(float value) {
  return float_of(bits_of(value) & ~kSign);
}
SEESAW_HOST_DEVICE inline bool is_nan(float value) { return (bits_of(value) & ~kSign) > kInfinity; }
}  // namespace float8

// 1 sign, 4 exponent bits of bias 7, 3 of fraction: up to 448.
SEESAW_HOST_DEVICE inline float from_e4m3(uint8_t bits) {
  const uint32_t sign = (bits & 0x80u) << 24;
  const uint32_t rest = bits & 0x7Fu;
  if (rest == 0x7F) {
    return float_of(sign | float8::kNaN);
  }
  if (rest < 8) {  // a multiple of 2^-9
    return float_of(sign | bits_of(static_cast<float>(rest) * 0x1p-9F));
  }
  return float_of(sign | ((rest << 20) + (120u << 23)));  // bias 127 - 7
}

SEESAW_HOST_DEVICE inline uint8_t to_e4m3(float value) {
  const uint32_t sign = (bits_of(value) & float8::kSign) >> 24;
  const uint32_t rest = bits_of(value) & ~float8::kSign;
  if (rest > float8::kInfinity) {
    return static_cast<uint8_t>(sign | 0x7Fu);
  }
  if (rest >= bits_of(kLargestE4M3)) {
    return static_cast<uint8_t>(sign | 0x7Eu);
  }
  if (rest < bits_of(0x1p-6F)) {  // a multiple of 2^-9, which is the last bit of a float near 2^14
    const uint32_t multiple = bits_of(float_of(rest) + 0x1p14F) - bits_of(0x1p14F);
    return static_cast<uint8_t>(sign | multiple);
  }
  const uint32_t rounded = rest + 0x7FFFFu + ((rest >> 20) & 1u);
  return static_cast<uint8_t>(sign | ((rounded - (120u << 23)) >> 20));
}

// A power of two, 2^(bits - 127); 255 is NaN. Scales only.
SEESAW_HOST_DEVICE inline float from_e8m0(uint8_t bits) {
  // Both ends, 2^-127, which is subnormal, and NaN, have the first bit of the fraction.
  const bool end = bits == 0 || bits == 0xFF;
  return float_of(static_cast<uint32_t>(bits) << 23 | (end ? 1U << 22 : 0U));
}

// The least power of two that is no smaller, within 2^-127 .. 2^127. Anything that is no positive
// finite number becomes NaN.
SEESAW_HOST_DEVICE inline uint8_t to_e8m0_up(float value) {
  const uint32_t bits = bits_of(value);
  if (bits == 0 || bits >= float8::kInfinity) {
    return 0xFF;
  }
  if (bits <= bits_of(0x1p-127F)) {
    return 0;
  }
  if (bits <= bits_of(0x1p-126F)) {
    return 1;
  }
  const uint32_t exponent = (bits + 0x7FFFFFu) >> 23;
  return static_cast<uint8_t>(exponent < 254 ? exponent : 254);
}

// 1 sign, 2 exponent bits of bias 1, 1 of fraction: 0, 0.5, 1, 1.5, 2, 3, 4, 6.
SEESAW_HOST_DEVICE inline float from_e2m1(uint8_t bits) {
  const uint32_t code = bits & 0x7u;
  const float magnitude = code < 4
                              ? 0.5F * static_cast<float>(code)
                              : static_cast<float>((2 + (code & 1)) << ((code >> 1) - 1)) * 0.5F;
  return (bits & 0x8) != 0 ? -magnitude : magnitude;
}

// There is no NaN: its code is 0, and whoever writes it makes the scale NaN.
SEESAW_HOST_DEVICE inline uint8_t to_e2m1(float value) {
  const float m = float8::magnitude_of(value);
  const int code = (m > 0.25F) + (m >= 0.75F) + (m > 1.25F) + (m >= 1.75F) + (m > 2.5F) +
                   (m >= 3.5F) + (m > 5.0F);
  return static_cast<uint8_t>((bits_of(value) >> 31 << 3) | static_cast<uint32_t>(code));
}

// There is no NaN: as in e2m1. Rounding is by the float that has no bits below 1.
SEESAW_HOST_DEVICE inline int8_t to_int8(float value) {
  const float m = float8::magnitude_of(value);
  if (float8::is_nan(value)) {
    return 0;
  }
  const uint32_t rounded = m >= kLargestInt8 ? 127u : bits_of(m + 0x1p23F) - bits_of(0x1p23F);
  return static_cast<int8_t>((bits_of(value) & float8::kSign) != 0 ? -static_cast<int>(rounded)
                                                                   : static_cast<int>(rounded));
}

}  // namespace seesaw
