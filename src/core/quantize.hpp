// How values become elements of a cache: which scale a group has, and what stands for a value. One
// definition for the CPU and for GPUs, so that both write the same bytes. All arithmetic is float32
// with one rounding an operation.
//   scale = the least stored scale s with greatest finite |value| <= s * largest (unless given)
//   element = value / s, rounded to nearest even; beyond the largest: the largest
// A NaN stays NaN: as an element where the type has one (e4m3), else through its group's scale.
#pragma once

#include <cstdint>

#include "base/float8.hpp"
#include "base/host_device.hpp"
#include "core/element_type.hpp"
#include "seesaw/seesaw.h"

namespace seesaw {

enum class ScaleRule : int32_t {
  kPowerOfTwo = SEESAW_SCALES_POWER_OF_TWO,
  kExact = SEESAW_SCALES_EXACT,
  kGiven = SEESAW_SCALES_GIVEN
};

// The largest number of a type that is scaled.
SEESAW_HOST_DEVICE constexpr float largest_of(ElementType type) {
  return type == ElementType::kInt8         ? kLargestInt8
         : type == ElementType::kFloat4E2M1 ? kLargestE2M1
                                            : kLargestE4M3;
}

SEESAW_HOST_DEVICE constexpr bool has_nan(ElementType type) {
  return type == ElementType::kFloat8E4M3;
}

// What counts for the greatest magnitude of a group: 0 for NaN and infinities.
SEESAW_HOST_DEVICE inline float finite_magnitude(float value) {
  const float m = float8::magnitude_of(value);
  return bits_of(m) < float8::kInfinity ? m : 0.0F;
}

// A scale as it is stored, and the number that this is.
struct StoredScale {
  uint32_t bits;  // of the scale's type
  float value;
};

// The least normal power of two that is no smaller than greatest / largest as a float. The bits of
// floats are ordered as they are, so that their difference, rounded up to a whole exponent, is the
// quotient's; its rounding changes nothing for the three numbers that largest_of gives (tried with
// every float).
SEESAW_HOST_DEVICE inline float power_of_two_scale(float greatest, float largest) {
  constexpr int32_t kOne = 127 << 23, kLeast = 1 << 23, kFraction = 0x7FFFFF;
  const auto logarithm = static_cast<int32_t>(bits_of(greatest) - bits_of(largest));
  const int32_t scale = ((logarithm + kFraction) & ~kFraction) + kOne;
  return float_of(static_cast<uint32_t>(scale > kLeast ? scale : kLeast));
}

SEESAW_HOST_DEVICE inline StoredScale store_scale(float scale, ElementType type) {
  switch (type) {
    case ElementType::kFloat8E8M0: {
      const uint8_t bits = to_e8m0_up(scale);
      return {bits, from_e8m0(bits)};
    }
    case ElementType::kFloat8E4M3: {  // rounded up, so that nothing is too large for it
      const float least = scale < 0x1p-9F ? 0x1p-9F : scale;
      const uint8_t nearest = to_e4m3(least);
      const bool below = from_e4m3(nearest) < least && nearest < 0x7E;
      const auto bits = static_cast<uint8_t>(nearest + (below ? 1 : 0));
      return {bits, from_e4m3(bits)};
    }
    default:
      return {bits_of(scale), scale};
  }
}

// The scale of a group whose greatest finite magnitude this is.
SEESAW_HOST_DEVICE inline StoredScale computed_scale(float greatest, ElementType element,
                                                     ElementType type, ScaleRule rule) {
  if (rule == ScaleRule::kPowerOfTwo) {
    return store_scale(power_of_two_scale(greatest, largest_of(element)), type);
  }
  constexpr float kLeast = 0x1p-126F;  // of a group of zeros
  const float exact = greatest / largest_of(element);
  return store_scale(exact > kLeast ? exact : kLeast, type);
}

SEESAW_HOST_DEVICE inline StoredScale nan_scale(ElementType type) {
  const uint32_t bits = type == ElementType::kFloat8E8M0   ? 0xFFu
                        : type == ElementType::kFloat8E4M3 ? 0x7Fu
                                                           : float8::kNaN;
  return {bits, float_of(float8::kNaN)};
}

// A scale that the caller gives has to be one: positive and finite.
SEESAW_HOST_DEVICE inline bool is_scale(float scale) {
  return scale > 0.0F && bits_of(scale) < float8::kInfinity;
}

// value / scale. A NaN keeps its sign: what division makes of it differs between devices.
SEESAW_HOST_DEVICE inline float quotient_of(float value, float scale) {
  return float8::is_nan(value) ? value : value / scale;
}

// The element of a scaled type that stands for a quotient, in the low bits.
SEESAW_HOST_DEVICE inline uint32_t to_element(float quotient, ElementType type) {
  return type == ElementType::kInt8         ? static_cast<uint8_t>(to_int8(quotient))
         : type == ElementType::kFloat4E2M1 ? to_e2m1(quotient)
                                            : to_e4m3(quotient);
}

// Whether rounding alone would have gone beyond the largest number. False for NaN.
SEESAW_HOST_DEVICE inline bool is_too_large(float quotient, ElementType type) {
  const float m = float8::magnitude_of(quotient);
  return type == ElementType::kInt8         ? m >= 127.5F
         : type == ElementType::kFloat4E2M1 ? m >= 7.0F
                                            : m > 464.0F;
}

SEESAW_HOST_DEVICE inline uint32_t quantize(float value, float scale, ElementType type) {
  return to_element(quotient_of(value, scale), type);
}

SEESAW_HOST_DEVICE inline bool saturates(float value, float scale, ElementType type) {
  return is_too_large(quotient_of(value, scale), type);
}

}  // namespace seesaw
