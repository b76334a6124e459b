// The fits of seesaw compare from inside: singular values, the double reference, both kinds of MLA
// fitted to given weights, and the weights' file.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <string>

#include "compare/fit.hpp"
#include "compare/reference.hpp"
#include "compare/values.hpp"
#include "compare/weights.hpp"
#include "error.hpp"
#include "io/safetensors_writer.hpp"

namespace seesaw::tools {
namespace {

TEST(CompareSvd, GivesBackTheMatrixAndFalls) {
  const Matrix a = matrix_of(widened(normal_array(12 * 7, 1, SEESAW_FLOAT32, 3)), 7);
  const Svd svd = decompose(a);
  ASSERT_EQ(svd.s.size(), 7);
  EXPECT_TRUE(std::is_sorted(svd.s.begin(), svd.s.end(), std::greater<>()));
  const Matrix product = svd.u * svd.s.asDiagonal() * svd.v.transpose();
  EXPECT_LT((product - a).cwiseAbs().maxCoeff(), 1e-12);
}

TEST(CompareSvd, TruncationErrorIsTheTailsShare) {
  const Svd svd = {{}, Eigen::Vector3d(3, 2, 1), {}};
  EXPECT_EQ(svd.truncation_error(3), 0);
  EXPECT_NEAR(svd.truncation_error(2), std::sqrt(1.0 / 14), 1e-15);
  EXPECT_EQ(svd.truncation_error(0), 1);
}

// The reference on weights whose result is known: all scores equal, so every output is the mean of
// the values; q = 0, v = x, out = identity.
TEST(CompareReference, EqualScoresGiveTheMean) {
  BaselineDescriptor d;
  d.tokens = 3;
  d.d_model = 2;
  d.num_heads = 1;
  const Values zero(4, 0);
  const Values one = {1, 0, 0, 1};
  const Values out = reference_out(d, {{1, 2, 4, 8, 7, -4}, {zero, one, one, one}});
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(out[2 * i], 4, 1e-15);
    EXPECT_NEAR(out[2 * i + 1], 2, 1e-15);
  }
  d.flags = SEESAW_BASELINE_CAUSAL;
  const Values causal = reference_out(d, {{1, 2, 4, 8, 7, -4}, {zero, one, one, one}});
  EXPECT_EQ(causal[0], 1);
  EXPECT_NEAR(causal[2], 2.5, 1e-15);
}

TEST(CompareReference, NaNIsAnInfiniteError) {
  EXPECT_TRUE(std::isinf(error_of({1, std::nan("")}, {1, 2}).largest));
  EXPECT_TRUE(std::isinf(error_of({1, std::nan("")}, {1, 2}).relative));
  EXPECT_TRUE(std::isinf(error_of({HUGE_VAL}, {HUGE_VAL}).relative));
  EXPECT_EQ(error_of({1, 4}, {1, 2}).largest, 2);
  EXPECT_NEAR(error_of({1, 4}, {1, 2}).relative, 2 / std::sqrt(5.0), 1e-15);
}

TEST(CompareReference, NothingButZerosHasARelativeErrorToo) {
  EXPECT_EQ(error_of({0, 0}, {0, 0}).relative, 0);
  EXPECT_TRUE(std::isinf(error_of({0, 1}, {0, 0}).relative));
}

// Fits of a small layer, run by the reference in double.
class CompareFit : public testing::Test {
 protected:
  static constexpr int64_t kTokens = 9;

  Values run(const FittedLayer& layer) const {
    BaselineDescriptor d = layer.descriptor;
    d.tokens = kTokens;
    return reference_out(d, {x_, layer.weights});
  }
  double error(const FittedLayer& layer) const {
    return error_of(run(layer), run(as_given(weights_))).relative;
  }

  const HeadWeights weights_ = synthetic_weights({2, 6, 0.7, 5});
  const Fitter fitter_{weights_};
  const Values x_ = widened(normal_array(kTokens * 12, 1, SEESAW_FLOAT32, 9));
};

// In double only the switched-off norm is left: mean squares beside an epsilon of 2^30.
TEST_F(CompareFit, DeepseekIsExactAtFullRank) {
  EXPECT_EQ(fitter_.full_rank(), 12);
  EXPECT_LT(error(fitter_.deepseek(12, System::kExpanded)), 1e-6);
  EXPECT_GT(error(fitter_.deepseek(3, System::kExpanded)), 1e-3);
}

TEST_F(CompareFit, WeightErrorGrowsAsTheRankFalls) {
  double last = -1;
  for (int64_t rank = fitter_.full_rank(); rank >= 1; --rank) {
    const double error = fitter_.deepseek(rank, System::kAbsorbed).weight_error;
    EXPECT_GT(error, last) << rank;
    last = error;
  }
  EXPECT_LT(last, 1);
}

TEST_F(CompareFit, OutputErrorAtHalfRankIsBelowThatAtRankOne) {
  EXPECT_LT(error(fitter_.deepseek(11, System::kExpanded)),
            error(fitter_.deepseek(1, System::kExpanded)));
}

// One head: traditional MLA at full width is multi-head attention. Two heads: it is not.
TEST_F(CompareFit, TraditionalIsExactForOneHeadOnly) {
  const HeadWeights one = synthetic_weights({1, 12, 0.7, 5});
  const Fitter fitter(one);
  EXPECT_LT(error_of(run(fitter.traditional(12)), run(as_given(one))).relative, 1e-6);
  EXPECT_GT(error(fitter_.traditional(12)), 0.1);
}

class CompareWeights : public testing::Test {
 protected:
  void SetUp() override {
    path_ = testing::TempDir() + "compare_weights_" +
            testing::UnitTest::GetInstance()->current_test_info()->name() + ".safetensors";
  }
  void TearDown() override { std::remove(path_.c_str()); }

  // q [4, 3] of 2 heads, k and v [kv_rows, 3], out [3, 4], all counting up.
  void write(int64_t kv_rows, float last_of_k = 0) const {
    SafetensorsWriter writer(path_);
    writer.declare({{"a.q_proj.weight", FileDType::kF32, {4, 3}},
                    {"a.k_proj.weight", FileDType::kF32, {kv_rows, 3}},
                    {"a.v_proj.weight", FileDType::kF32, {kv_rows, 3}},
                    {"a.o_proj.weight", FileDType::kF32, {3, 4}},
                    {"a.q_proj.bias", FileDType::kF32, {4}}},
                   {});
    std::vector<float> values(static_cast<size_t>(12 + 6 * kv_rows + 12 + 4));
    std::iota(values.begin(), values.end(), 0.0F);
    if (last_of_k != 0) {
      values[static_cast<size_t>(12 + 3 * kv_rows - 1)] = last_of_k;
    }
    writer.write(values.data(), values.size() * sizeof(float));
    writer.commit();
  }

  std::string path_;
};

TEST_F(CompareWeights, GroupedHeadsAreRepeated) {
  write(2);
  const HeadWeights w = read_weights({path_, "a.", 2});
  EXPECT_EQ(w.head_dim, 2);
  EXPECT_EQ(w.d_model, 3);
  EXPECT_EQ(w.q(3, 2), 11);
  EXPECT_EQ(values_of(w.k), (Values{12, 13, 14, 15, 16, 17, 12, 13, 14, 15, 16, 17}));
  EXPECT_EQ(w.out(0, 0), 24);
  EXPECT_EQ(w.left_out, "q_proj.bias");
}

// What read_weights says of a file; empty if it takes it.
std::string message(const WeightFile& file) {
  try {
    read_weights(file);
  } catch (const Failure& failure) {
    return failure.what();
  }
  return "";
}

TEST_F(CompareWeights, WhatIsNotFiniteIsRefused) {
  write(2);
  EXPECT_EQ(message({path_, "a.", 2}), "");
  write(2, std::nanf(""));
  EXPECT_NE(message({path_, "a.", 2}).find("a.k_proj.weight: element [1, 2] is nan"),
            std::string::npos);
  write(2, -HUGE_VALF);
  EXPECT_NE(message({path_, "a.", 2}).find("element [1, 2] is -inf"), std::string::npos);
}

TEST_F(CompareWeights, RefusalsNameWhatIsWrong) {
  write(3);
  EXPECT_NE(message({path_, "a.", 2}).find("k_proj [3, 3]"), std::string::npos);
  EXPECT_NE(message({path_, "b.", 2}).find("b.q_proj.weight: missing"), std::string::npos);
  EXPECT_NE(message({path_, "a.", 3}).find("--fit-heads: 3"), std::string::npos);
}

}  // namespace
}  // namespace seesaw::tools
