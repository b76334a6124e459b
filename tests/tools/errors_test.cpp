// The judge of `seesaw check`: it must see what is wrong, and percentiles must be right.
#include "lab/errors.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace seesaw::lab {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

constexpr ResultShape kShape{.s_q = 1, .h_q = 1, .d_v = 100};

// 1e-3 and a hundredth of the reference for every element.
Allowed allow(const Results& reference) {
  return {.out = std::vector<double>(reference.out.size(), 1e-3),
          .out_relative = std::vector<double>(reference.out.size() / 100 + 1, 1e-2),
          .lse = std::vector<double>(reference.lse.size(), 1e-3)};
}

ErrorStatistics compared(const Results& result, const Results& reference) {
  return compare(result, reference, allow(reference), kShape);
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
  out[77] += 0.011F * 0.99F;
  EXPECT_TRUE(compared(of(out, {1}), of(reference, {1})).ok());
  out[77] += 0.011F * 0.02F;
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
  EXPECT_TRUE(compared(of({1}, {10.0009F}), of({1}, {10})).ok());
  EXPECT_FALSE(compared(of({1}, {10.0011F}), of({1}, {10})).ok());
}

TEST(Errors, EachElementHasABoundOfItsOwn) {
  const Results reference = of(std::vector<float>(200, 1.0F), {1, 1});
  Allowed allowed = allow(reference);
  allowed.out[150] = 0.5;
  allowed.out_relative[0] = 0.25;  // of the first row's hundred columns
  Results result = reference;
  result.out[150] += 0.5F;
  result.out[99] += 0.25F;
  EXPECT_TRUE(compare(result, reference, allowed, kShape).ok());
  result.out[100] += 0.25F;
  EXPECT_EQ(compare(result, reference, allowed, kShape).bad_out, 1U);
}

TEST(Errors, TheSuitesCheckIsABoundAndACosine) {
  const auto suite = [](const Results& result, const Results& reference) {
    return compare(result, reference, flash_mla_suite(reference, kShape), kShape);
  };
  const Results reference = of(std::vector<float>(100, 1.0F), {10});
  Results result = reference;
  result.out[7] += 0.016F;  // allowed: 8e-4 + 1 / 64; as a whole: 1.3e-6
  EXPECT_TRUE(suite(result, reference).ok());
  result.out[7] += 0.001F;
  EXPECT_EQ(suite(result, reference).bad_out, 1U);
  EXPECT_TRUE(suite(of({1}, {10.001F}), of({1}, {10})).ok());
  EXPECT_FALSE(suite(of({1}, {10.002F}), of({1}, {10})).ok());
  // Within the bound of each element, but not in the direction of the reference.
  EXPECT_FALSE(suite(of({7e-4F, -7e-4F}, {1}), of({1e-5F, 1e-5F}, {1})).ok());
}

TEST(Errors, PlacesAreCoordinates) {
  const ResultShape shape{.s_q = 2, .h_q = 3, .d_v = 5};
  ResultsOf<double> reference{std::vector<double>(4 * 2 * 3 * 5, 1),
                              std::vector<double>(4 * 3 * 2)};
  ResultsOf<double> result = reference;
  result.out[((2 * 2 + 1) * 3 + 2) * 5 + 4] = 9;
  const Allowed allowed{.out = std::vector<double>(reference.out.size(), 1e-3),
                        .out_relative = std::vector<double>(4 * 2 * 3, 1e-2),
                        .lse = std::vector<double>(reference.lse.size(), 1e-3)};
  EXPECT_EQ(compare(result, reference, allowed, shape).worst.substr(0, 15), "out[2, 1, 2, 4]");
  result = reference;
  result.lse[(3 * 3 + 2) * 2 + 1] = 9;
  EXPECT_EQ(compare(result, reference, allowed, shape).worst.substr(0, 12), "lse[3, 2, 1]");
  // Eight query tokens of ragged sequences, one behind the other.
  const ResultShape ragged{.s_q = 8, .h_q = 3, .d_v = 5, .ragged = true};
  result = reference;
  result.out[(5 * 3 + 2) * 5 + 4] = 9;
  EXPECT_EQ(compare(result, reference, allowed, ragged).worst.substr(0, 12), "out[5, 2, 4]");
  result = reference;
  result.lse[2 * 8 + 7] = 9;
  EXPECT_EQ(compare(result, reference, allowed, ragged).worst.substr(0, 9), "lse[2, 7]");
  result = reference;
  result.lse.pop_back();
  EXPECT_FALSE(compare(result, reference, allowed, shape).ok());
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
