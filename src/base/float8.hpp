// Storage types of 8 and 4 bits (OCP Microscaling Formats 1.0, section 5.3; e4m3 as OFP8 defines
// it: no infinities, one NaN pattern a sign). All are exact in float.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace seesaw {

// 1 sign, 4 exponent bits of bias 7, 3 of fraction: up to 448.
inline float from_e4m3(uint8_t bits) {
  const int exponent = (bits >> 3) & 0xF;
  const int fraction = bits & 0x7;
  float magnitude = 0.0F;
  if (exponent == 0xF && fraction == 0x7) {
    magnitude = std::numeric_limits<float>::quiet_NaN();
  } else if (exponent == 0) {
    magnitude = std::ldexp(static_cast<float>(fraction), -9);
  } else {
    magnitude = std::ldexp(static_cast<float>(8 + fraction), exponent - 10);
  }
  return (bits & 0x80) != 0 ? -magnitude : magnitude;
}

// A power of two, 2^(bits - 127); 255 is NaN. Scales only.
inline float from_e8m0(uint8_t bits) {
  return bits == 0xFF ? std::numeric_limits<float>::quiet_NaN() : std::ldexp(1.0F, bits - 127);
}

// 1 sign, 2 exponent bits of bias 1, 1 of fraction: 0, 0.5, 1, 1.5, 2, 3, 4, 6.
inline float from_e2m1(uint8_t bits) {
  constexpr float kMagnitudes[] = {0.0F, 0.5F, 1.0F, 1.5F, 2.0F, 3.0F, 4.0F, 6.0F};
  const float magnitude = kMagnitudes[bits & 0x7];
  return (bits & 0x8) != 0 ? -magnitude : magnitude;
}

}  // namespace seesaw
