#include "base/checked.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

#include "base/math.hpp"
#include "base/message.hpp"
#include "base/status.hpp"

namespace seesaw {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr int64_t kMin = std::numeric_limits<int64_t>::min();

TEST(Checked, MultipliesWhatFits) {
  int64_t result = 0;
  EXPECT_TRUE(checked_mul(int64_t{1} << 31, int64_t{1} << 31, &result));
  EXPECT_EQ(result, int64_t{1} << 62);
  EXPECT_TRUE(checked_mul(kMax, 1, &result));
  EXPECT_EQ(result, kMax);
  EXPECT_TRUE(checked_mul(kMin, 0, &result));
  EXPECT_EQ(result, 0);
}

TEST(Checked, ReportsProductsThatDoNotFit) {
  int64_t result = 0;
  EXPECT_FALSE(checked_mul(int64_t{1} << 32, int64_t{1} << 31, &result));
  EXPECT_FALSE(checked_mul(kMin, -1, &result));
  EXPECT_FALSE(checked_mul(kMax, kMax, &result));
}

TEST(Checked, ReportsSumsThatDoNotFit) {
  int64_t result = 0;
  EXPECT_TRUE(checked_add(kMax - 1, 1, &result));
  EXPECT_EQ(result, kMax);
  EXPECT_FALSE(checked_add(kMax, 1, &result));
  EXPECT_FALSE(checked_add(kMin, -1, &result));
}

TEST(Math, RoundsUp) {
  EXPECT_EQ(ceil_div(0, 64), 0);
  EXPECT_EQ(ceil_div(1, 64), 1);
  EXPECT_EQ(ceil_div(64, 64), 1);
  EXPECT_EQ(ceil_div(65, 64), 2);
  EXPECT_EQ(ceil_div<int64_t>(INT32_MAX, 1), INT32_MAX);
  EXPECT_EQ(round_up(65, 64), 128);
  EXPECT_EQ(round_up(64, 64), 64);
}

TEST(Status, CarriesCodeAndMessage) {
  EXPECT_TRUE(Status().ok());
  const Status status =
      invalid_argument(four_part_message("here", "x = 3", "1, 2", "Choose another."));
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "here: x = 3, allowed: 1, 2. Choose another.");
}

Status fail_if(bool failing, int* reached) {
  SEESAW_RETURN_IF_ERROR(failing ? not_supported("no") : Status());
  ++*reached;
  return {};
}

TEST(Status, ReturnIfErrorReturnsOnlyErrors) {
  int reached = 0;
  EXPECT_EQ(fail_if(true, &reached).code(), StatusCode::kNotSupported);
  EXPECT_EQ(reached, 0);
  EXPECT_TRUE(fail_if(false, &reached).ok());
  EXPECT_EQ(reached, 1);
}

}  // namespace
}  // namespace seesaw
