// Eight-bit and four-bit types: every bit pattern against its definition.
#include "base/float8.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace seesaw {
namespace {

TEST(Float8, E4m3IsSignExponentFraction) {
  for (int bits = 0; bits < 256; ++bits) {
    const float value = from_e4m3(static_cast<uint8_t>(bits));
    if ((bits & 0x7F) == 0x7F) {
      EXPECT_TRUE(std::isnan(value)) << bits;
      continue;
    }
    const int exponent = (bits >> 3) & 15;
    const double fraction = (bits & 7) / 8.0;
    const double magnitude =
        exponent == 0 ? std::ldexp(fraction, -6) : std::ldexp(1.0 + fraction, exponent - 7);
    EXPECT_EQ(static_cast<double>(value), bits >= 128 ? -magnitude : magnitude) << bits;
  }
  EXPECT_EQ(from_e4m3(0x7E), 448.0F);
  EXPECT_EQ(from_e4m3(0x01), 0.001953125F);
}

TEST(Float8, E8m0IsAPowerOfTwo) {
  for (int bits = 0; bits < 255; ++bits) {
    EXPECT_EQ(static_cast<double>(from_e8m0(static_cast<uint8_t>(bits))),
              std::ldexp(1.0, bits - 127));
  }
  EXPECT_TRUE(std::isnan(from_e8m0(255)));
}

TEST(Float8, E2m1HasEightMagnitudes) {
  const float magnitudes[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
  for (int bits = 0; bits < 16; ++bits) {
    EXPECT_EQ(from_e2m1(static_cast<uint8_t>(bits)),
              bits < 8 ? magnitudes[bits] : -magnitudes[bits - 8]);
  }
}

}  // namespace
}  // namespace seesaw
