// AMX's tiles: the emulation against the arithmetic in double, and the instructions against the
// emulation, bit for bit.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "base/float16.hpp"
#include "unit/cpu/tiles.hpp"

namespace seesaw::testing {
namespace {

struct Operands {
  TileWords c, a, b;
};

uint32_t pair(float low, float high) {
  return from_float<BFloat16>(low).bits | uint32_t{from_float<BFloat16>(high).bits} << 16;
}

// Numbers whose sums round, c among them.
Operands random_operands(uint32_t seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> number;
  Operands x;
  for (size_t i = 0; i < x.c.size(); ++i) {
    x.c[i] = std::bit_cast<uint32_t>(number(engine));
    x.a[i] = pair(number(engine), number(engine));
    x.b[i] = pair(number(engine), number(engine));
  }
  return x;
}

// What decides about rounding and flushing: denormal numbers going in and coming out, infinities,
// NaN, zeros of both signs.
Operands special_operands() {
  constexpr float kTiny = 0x1p-130F, kSmall = 0x1p-64F, kInfinity = INFINITY;
  constexpr float kNumbers[] = {0.0F, -0.0F, kTiny, -kTiny, kSmall, -kSmall, 1.0F, -3.0F};
  std::mt19937 engine(3);
  const auto any = [&] { return kNumbers[engine() % std::size(kNumbers)]; };
  Operands x;
  for (size_t i = 0; i < x.c.size(); ++i) {
    x.c[i] = std::bit_cast<uint32_t>(any());
    x.a[i] = pair(any(), any());
    x.b[i] = pair(any(), any());
  }
  x.a[0] = pair(kInfinity, 1.0F);                                  // row 0
  x.a[16] = pair(std::numeric_limits<float>::quiet_NaN(), -0.0F);  // row 1
  return x;
}

float low(uint32_t word) { return to_float(BFloat16{static_cast<uint16_t>(word)}); }
float high(uint32_t word) { return to_float(BFloat16{static_cast<uint16_t>(word >> 16)}); }

TEST(Tiles, EmulationMultipliesPairs) {
  const Operands x = random_operands(1);
  TileWords c = x.c;
  emulated_dot(&c, x.a, x.b);
  for (size_t m = 0; m < 16; ++m) {
    for (size_t n = 0; n < 16; ++n) {
      double sum = std::bit_cast<float>(x.c[m * 16 + n]);
      double magnitude = std::abs(sum);
      for (size_t k = 0; k < 16; ++k) {
        const uint32_t a = x.a[m * 16 + k], b = x.b[k * 16 + n];
        sum += double{low(a)} * low(b) + double{high(a)} * high(b);
        magnitude += std::abs(double{low(a)} * low(b)) + std::abs(double{high(a)} * high(b));
      }
      EXPECT_NEAR(std::bit_cast<float>(c[m * 16 + n]), sum, magnitude * 0x1p-21);
    }
  }
}

TEST(Tiles, EmulationFlushesDenormalNumbers) {
  Operands x{};
  x.c[0] = std::bit_cast<uint32_t>(-0x1p-130F);  // a denormal number in c
  x.a[16] = pair(0x1p-130F, 0.0F);               // and in a, row 1
  x.a[32] = pair(0x1p-100F, 0.0F);               // row 2: a product that is one
  x.b[0] = pair(0x1p-40F, 0.0F);
  x.b[1] = pair(0x1p100F, 0.0F);
  emulated_dot(&x.c, x.a, x.b);
  EXPECT_EQ(x.c[0] & 0x7FFFFFFFU, 0u);
  EXPECT_EQ(x.c[16 + 1], 0u);
  EXPECT_EQ(x.c[32], 0u);
  EXPECT_EQ(std::bit_cast<float>(x.c[32 + 1]), 1.0F);
}

TEST(Tiles, InstructionsGiveTheEmulationsBits) {
  for (const Operands& x : {random_operands(1), random_operands(2), special_operands()}) {
    TileWords emulated = x.c, by_amx = x.c;
    emulated_dot(&emulated, x.a, x.b);
    if (!amx_dot(&by_amx, x.a, x.b)) {
      GTEST_SKIP() << "this machine has no AMX, or the operating system refused it";
    }
    for (size_t i = 0; i < emulated.size(); ++i) {
      const float expected = std::bit_cast<float>(emulated[i]);
      const float arrived = std::bit_cast<float>(by_amx[i]);
      EXPECT_TRUE(emulated[i] == by_amx[i] || (std::isnan(expected) && std::isnan(arrived)))
          << "element " << i << ": " << arrived << ", emulated " << expected;
    }
  }
}

TEST(Tiles, AProgramsConfigurationSurvives) {
  Operands x = random_operands(1);
  if (!amx_dot(&x.c, x.a, x.b)) {
    GTEST_SKIP() << "this machine has no AMX, or the operating system refused it";
  }
  EXPECT_EQ(tile_configuration(), (std::array<uint8_t, 64>{}));  // in its initial state
  std::array<uint8_t, 64> own{};
  own[0] = 1;    // palette
  own[16] = 32;  // tile 0: bytes of a row
  own[48] = 5;   // and rows
  set_tile_configuration(own);
  amx_dot(&x.c, x.a, x.b);
  EXPECT_EQ(tile_configuration(), own);
  set_tile_configuration({});
}

}  // namespace
}  // namespace seesaw::testing
