// The judge of `seesaw check`: it must see what is wrong, and percentiles must be right.
#include "lab/errors.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace seesaw::lab {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

ErrorStatistics compared(const Results& result, const Results& reference) {
  return compare(result, reference, {.s_q = 1, .h_q = 1, .d_v = 100});
}

Results of(std::vector<float> out, std::vector<float> lse) { return {out, lse}; }

TEST(Errors, PercentilesAreWithinABucket) {
  Distribution distribution;
  for (int i = 1; i <= 100000; ++i) {
    distribution.add(i);
  }
  EXPECT_NEAR(distribution.percentile(0.5), 50000, 50000.0 / 256);
  EXPECT_NEAR(distribution.percentile(0.999), 99900, 99900.0 / 256);
  EXPECT_EQ(distribution.max(), 100000);
  EXPECT_EQ(distribution.percentile(1), 100000 - std::fmod(100000, 256));
}

TEST(Errors, EqualInfinitiesAndNaNsAreNoErrors) {
  const Results results = of({0.5F, kNaN}, {-kInf, 3});
  EXPECT_EQ(compared(results, results).out_of_bound.max(), 0);
  EXPECT_EQ(compared(results, results).lse_of_bound.max(), 0);
}

TEST(Errors, OneElementOutOfBoundFails) {
  std::vector<float> reference(10000, 1.0F);
  std::vector<float> out = reference;
  out[77] += static_cast<float>(kOutBound.absolute + kOutBound.relative) * 0.99F;
  EXPECT_TRUE(compared(of(out, {1}), of(reference, {1})).ok());
  out[77] += static_cast<float>(kOutBound.absolute + kOutBound.relative) * 0.02F;
  const ErrorStatistics bad = compared(of(out, {1}), of(reference, {1}));
  EXPECT_FALSE(bad.ok());
  EXPECT_EQ(bad.bad_out, 1U);
  EXPECT_NE(bad.worst.find("out[0, 0, 0, 77]"), std::string::npos) << bad.worst;
}

TEST(Errors, NaNAndInfinityWhereTheReferenceHasNoneFail) {
  EXPECT_FALSE(compared(of({kNaN}, {1}), of({1}, {1})).ok());
  EXPECT_FALSE(compared(of({1}, {1}), of({kNaN}, {1})).ok());
  EXPECT_FALSE(compared(of({kInf}, {1}), of({1}, {1})).ok());
  EXPECT_FALSE(compared(of({1}, {kNaN}), of({1}, {1})).ok());
  EXPECT_FALSE(compared(of({1}, {kInf}), of({1}, {-kInf})).ok());
  EXPECT_FALSE(compared(of({1}, {5}), of({1}, {-kInf})).ok());
}

TEST(Errors, LseHasABoundOfItsOwn) {
  EXPECT_TRUE(compared(of({1}, {10.001F}), of({1}, {10})).ok());
  EXPECT_FALSE(compared(of({1}, {10.002F}), of({1}, {10})).ok());
}

TEST(Errors, SmallErrorsEverywhereShowInTheCosine) {
  // Within the bound of each element, but not in the direction of the reference.
  EXPECT_FALSE(compared(of({7e-4F, -7e-4F}, {1}), of({1e-5F, 1e-5F}, {1})).ok());
}

TEST(Errors, PlacesAreCoordinates) {
  const ResultShape shape{.s_q = 2, .h_q = 3, .d_v = 5};
  ResultsOf<double> reference{std::vector<double>(4 * 2 * 3 * 5, 1),
                              std::vector<double>(4 * 3 * 2)};
  ResultsOf<double> result = reference;
  result.out[((2 * 2 + 1) * 3 + 2) * 5 + 4] = 9;
  EXPECT_EQ(compare(result, reference, shape).worst.substr(0, 15), "out[2, 1, 2, 4]");
  result = reference;
  result.lse[(3 * 3 + 2) * 2 + 1] = 9;
  EXPECT_EQ(compare(result, reference, shape).worst.substr(0, 12), "lse[3, 2, 1]");
  result.lse.pop_back();
  EXPECT_FALSE(compare(result, reference, shape).ok());
}

TEST(Errors, MergeKeepsTheWorst) {
  ErrorStatistics sum = compared(of({1}, {1}), of({1}, {1}));
  sum.merge(compared(of({2}, {1}), of({1}, {1})));
  EXPECT_FALSE(sum.ok());
  EXPECT_EQ(sum.out_error.max(), 1);
  EXPECT_EQ(sum.out_error.count(), 2U);
  EXPECT_EQ(sum.bad_out, 1U);
}

}  // namespace
}  // namespace seesaw::lab
