// The 16-bit formats: every bit pattern, and rounding to nearest even.
#include "numbers.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "error.hpp"

namespace seesaw::tools {
namespace {

TEST(Numbers, EveryPatternSurvivesARoundTrip) {
  for (uint32_t i = 0; i < 65536; ++i) {
    const auto bits = static_cast<uint16_t>(i);
    const float half = float16_to_float(bits);
    const float brain = bfloat16_to_float(bits);
    if (std::isnan(half)) {
      EXPECT_TRUE(std::isnan(float16_to_float(float_to_float16(half))));
    } else {
      EXPECT_EQ(float_to_float16(half), bits);
    }
    if (std::isnan(brain)) {
      EXPECT_TRUE(std::isnan(bfloat16_to_float(float_to_bfloat16(brain))));
    } else {
      EXPECT_EQ(float_to_bfloat16(brain), bits);
    }
  }
}

// Halfway between two neighbours goes to the even one, anything else to the nearer one.
TEST(Numbers, RoundsToNearestEven) {
  for (uint32_t i = 0; i < 0x7BFF; ++i) {  // finite neighbours
    const auto low = static_cast<uint16_t>(i);
    const auto high = static_cast<uint16_t>(i + 1);
    const float middle = (float16_to_float(low) + float16_to_float(high)) / 2;
    EXPECT_EQ(float_to_float16(middle), i % 2 == 0 ? low : high) << i;
    EXPECT_EQ(float_to_float16(std::nextafter(middle, 0.0F)), low) << i;
    EXPECT_EQ(float_to_float16(-std::nextafter(middle, 1e9F)), high | 0x8000) << i;
  }
  EXPECT_EQ(float_to_float16(65519.9F), 0x7BFF);
  EXPECT_EQ(float_to_float16(65520.0F), 0x7C00);
  EXPECT_EQ(float_to_bfloat16(1 + 1.0F / 256), 0x3F80);  // halfway, to even
  EXPECT_EQ(float_to_bfloat16(1 + 3.0F / 256), 0x3F82);
  EXPECT_EQ(float_to_bfloat16(3.4e38F), 0x7F80);  // beyond the largest
}

TEST(Numbers, ReadsNamesOfTypes) {
  EXPECT_EQ(parse_dtype("bf16", "--dtype"), SEESAW_BFLOAT16);
  EXPECT_EQ(parse_dtype("float32", "--dtype"), SEESAW_FLOAT32);
  EXPECT_THROW(parse_dtype("int8", "--dtype"), Failure);
}

}  // namespace
}  // namespace seesaw::tools
