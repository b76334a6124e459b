#include "base/float16.hpp"

#include <gtest/gtest.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

namespace seesaw {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

float from_bits(uint32_t bits) { return std::bit_cast<float>(bits); }

// The value by the format's definition: sign, exponent bits and fraction bits of a 16-bit float.
double value_by_definition(uint16_t bits, int exponent_bits) {
  const int fraction_bits = 15 - exponent_bits;
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = (bits >> fraction_bits) & ((1 << exponent_bits) - 1);
  const int fraction = bits & ((1 << fraction_bits) - 1);
  const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
  if (exponent == (1 << exponent_bits) - 1) {
    return fraction == 0 ? sign * static_cast<double>(kInfinity) : std::nan("");
  }
  const double significand = (exponent == 0 ? 0.0 : 1.0) + std::ldexp(fraction, -fraction_bits);
  return sign * std::ldexp(significand, (exponent == 0 ? 1 : exponent) - bias);
}

template <typename T>
struct Format;
template <>
struct Format<BFloat16> {
  static constexpr int kExponentBits = 8;
};
template <>
struct Format<Float16> {
  static constexpr int kExponentBits = 5;
};

template <typename T>
class Half : public ::testing::Test {};
using Formats = ::testing::Types<BFloat16, Float16>;
TYPED_TEST_SUITE(Half, Formats);

TYPED_TEST(Half, EveryPatternHasItsValueAndRoundTrips) {
  for (uint32_t pattern = 0; pattern <= 0xFFFF; ++pattern) {
    const TypeParam stored{static_cast<uint16_t>(pattern)};
    const float value = to_float(stored);
    const double expected = value_by_definition(stored.bits, Format<TypeParam>::kExponentBits);
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(value)) << pattern;
      ASSERT_TRUE(std::isnan(to_float(from_float<TypeParam>(value)))) << pattern;
      continue;
    }
    ASSERT_EQ(static_cast<double>(value), expected) << pattern;
    ASSERT_EQ(std::signbit(value), (pattern & 0x8000) != 0) << pattern;
    ASSERT_EQ(from_float<TypeParam>(value).bits, stored.bits) << pattern;
  }
}

// Halfway between two neighbours: the one with an even last bit. One float next to halfway: the
// nearer one.
TYPED_TEST(Half, RoundsToNearestTiesToEven) {
  constexpr int kExponentBits = Format<TypeParam>::kExponentBits;
  const uint16_t infinity = from_float<TypeParam>(kInfinity).bits;
  for (uint16_t pattern = 0; pattern + 1 < infinity; ++pattern) {
    const auto next = static_cast<uint16_t>(pattern + 1);
    const double low = value_by_definition(pattern, kExponentBits);
    const double high = value_by_definition(next, kExponentBits);
    const auto middle = static_cast<float>((low + high) / 2);
    ASSERT_EQ(static_cast<double>(middle), (low + high) / 2);  // representable
    const uint16_t even = (pattern & 1) == 0 ? pattern : next;
    ASSERT_EQ(from_float<TypeParam>(middle).bits, even) << pattern;
    ASSERT_EQ(from_float<TypeParam>(-middle).bits, even | 0x8000) << pattern;
    ASSERT_EQ(from_float<TypeParam>(std::nextafter(middle, 0.0F)).bits, pattern) << pattern;
    ASSERT_EQ(from_float<TypeParam>(std::nextafter(middle, kInfinity)).bits, next) << pattern;
  }
}

TYPED_TEST(Half, InfinityAndNaN) {
  EXPECT_EQ(to_float(from_float<TypeParam>(kInfinity)), kInfinity);
  EXPECT_EQ(to_float(from_float<TypeParam>(-kInfinity)), -kInfinity);
  EXPECT_EQ(to_float(from_float<TypeParam>(std::numeric_limits<float>::max())), kInfinity);
  // A signalling NaN whose payload would be cut off must not become infinity.
  EXPECT_TRUE(std::isnan(to_float(from_float<TypeParam>(from_bits(0x7F800001)))));
  EXPECT_TRUE(std::isnan(to_float(from_float<TypeParam>(from_bits(0xFFFFFFFF)))));
}

TEST(Float16, OverflowsFromHalfwayToTheNextPowerOfTwo) {
  EXPECT_EQ(from_float<Float16>(65504.0F).bits, 0x7BFF);
  EXPECT_EQ(from_float<Float16>(65519.996F).bits, 0x7BFF);
  EXPECT_EQ(from_float<Float16>(65520.0F).bits, 0x7C00);
}

TEST(Float16, UnderflowsBelowHalfTheLeastSubnormal) {
  EXPECT_EQ(from_float<Float16>(std::ldexp(1.0F, -24)).bits, 1);
  EXPECT_EQ(from_float<Float16>(std::ldexp(1.0F, -25)).bits, 0);  // tie: even is zero
  EXPECT_EQ(from_float<Float16>(std::nextafter(std::ldexp(1.0F, -25), 1.0F)).bits, 1);
  EXPECT_EQ(from_float<Float16>(-std::numeric_limits<float>::denorm_min()).bits, 0x8000);
}

TEST(BFloat16, OverflowsFromHalfwayPastTheLargest) {
  EXPECT_EQ(from_float<BFloat16>(from_bits(0x7F7F7FFF)).bits, 0x7F7F);
  EXPECT_EQ(from_float<BFloat16>(from_bits(0x7F7F8000)).bits, 0x7F80);
}

#if defined(__x86_64__)
__attribute__((target("f16c"))) uint16_t float16_by_processor(float value) {
  const __m128i converted = _mm_cvtps_ph(_mm_set_ss(value), _MM_FROUND_TO_NEAREST_INT);
  return static_cast<uint16_t>(_mm_cvtsi128_si32(converted));
}

// The processor's own conversion, on patterns of all exponents.
TEST(Float16, AgreesWithTheProcessor) {
  if (!__builtin_cpu_supports("avx2")) {  // whoever has it has F16C; clang 14 cannot ask for that
    GTEST_SKIP() << "this processor has no AVX2";
  }
  std::mt19937 engine(7);
  for (int i = 0; i < 2'000'000; ++i) {
    const float value = from_bits(static_cast<uint32_t>(engine()));
    if (!std::isnan(value)) {
      ASSERT_EQ(from_float<Float16>(value).bits, float16_by_processor(value)) << value;
    }
  }
}
#endif

TEST(Float32, IsStoredAsItIs) {
  EXPECT_EQ(from_float<float>(1.1F), 1.1F);
  EXPECT_EQ(to_float(1.1F), 1.1F);
}

}  // namespace
}  // namespace seesaw
