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

// The nearest of all finite values, the even pattern where two are as near.
template <typename From>
int nearest(double value, int largest_pattern, From from) {
  int best = 0;
  for (int bits = 0; bits <= largest_pattern; ++bits) {
    const double distance =
        std::fabs(static_cast<double>(from(static_cast<uint8_t>(bits))) - value);
    const double least = std::fabs(static_cast<double>(from(static_cast<uint8_t>(best))) - value);
    if (distance < least || (distance == least && bits % 2 == 0)) {
      best = bits;
    }
  }
  return best;
}

TEST(Float8, RoundsToTheNearestAndTiesToEven) {
  for (int exponent = -12; exponent <= 9; ++exponent) {
    for (int i = 0; i < 64; ++i) {
      const float value = std::ldexp(1.0F + static_cast<float>(i) / 64.0F, exponent);
      EXPECT_EQ(to_e4m3(value), nearest(value, 0x7E, from_e4m3)) << value;
      EXPECT_EQ(to_e4m3(-value), 0x80 | nearest(value, 0x7E, from_e4m3)) << value;
      EXPECT_EQ(to_e2m1(value), nearest(value, 7, from_e2m1)) << value;
      EXPECT_EQ(to_int8(-value), -std::fmin(127.0, std::nearbyint(value))) << value;
    }
  }
  EXPECT_EQ(to_e4m3(INFINITY), 0x7E);
  EXPECT_EQ(to_e4m3(-NAN) & 0x7F, 0x7F);
  EXPECT_EQ(to_e4m3(0.0F), 0);
  EXPECT_EQ(to_int8(INFINITY), 127);
}

TEST(Float8, ScalesAreRoundedUpToAPowerOfTwo) {
  EXPECT_EQ(to_e8m0_up(1.0F), 127);
  EXPECT_EQ(to_e8m0_up(1.0000001F), 128);
  EXPECT_EQ(to_e8m0_up(0x1p-127F), 0);
  EXPECT_EQ(to_e8m0_up(0x1p-149F), 0);
  EXPECT_EQ(to_e8m0_up(3e38F), 254);
  for (const float none : {0.0F, -1.0F, INFINITY, NAN}) {
    EXPECT_EQ(to_e8m0_up(none), 0xFF);
  }
}

}  // namespace
}  // namespace seesaw
