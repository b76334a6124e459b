// Exercises of level 3, "modify and extend" (docs/guide/12-exercises.md), solved: on the four steps
// of ladder/four_steps.hpp, against plain double loops.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <vector>

#include "ladder/four_steps.hpp"

namespace seesaw::ladder {
namespace {

constexpr int kDim = 32;
constexpr int kTokens = 150;
constexpr int kBlock = 16;
constexpr float kScale = 0.7F;

struct Row {
  std::vector<Bf16> q = std::vector<Bf16>(kDim);
  std::vector<Bf16> k = std::vector<Bf16>(kTokens * kDim);
  std::vector<Bf16> v = std::vector<Bf16>(kTokens * kDim);

  Row() {
    for (size_t i = 0; i < q.size(); ++i) {
      q[i] = to_bf16(2.0F * std::sin(static_cast<float>(i)));
    }
    for (size_t i = 0; i < k.size(); ++i) {
      k[i] = to_bf16(std::cos(0.31F * static_cast<float>(i) + 1e-4F * static_cast<float>(i * i)));
      v[i] = to_bf16(0.1F * std::sin(0.17F * static_cast<float>(i)));
    }
  }
  double score(int token) const {
    double dot = 0.0;
    for (int c = 0; c < kDim; ++c) {
      dot += static_cast<double>(to_float(q[static_cast<size_t>(c)])) *
             static_cast<double>(to_float(k[static_cast<size_t>(token * kDim + c)]));
    }
    return dot * static_cast<double>(kScale);
  }
};

// The truth: weights exp(change(score)), and what else counts in the denominator.
std::vector<double> truth(const Row& row, const std::function<double(double)>& change,
                          double extra_weight) {
  std::vector<double> out(kDim, 0.0);
  double sum = extra_weight;
  for (int t = 0; t < kTokens; ++t) {
    const double weight = std::exp(change(row.score(t)));
    sum += weight;
    for (int c = 0; c < kDim; ++c) {
      out[static_cast<size_t>(c)] +=
          weight * static_cast<double>(to_float(row.v[static_cast<size_t>(t * kDim + c)]));
    }
  }
  for (double& value : out) {
    value /= sum;
  }
  return out;
}

void expect_near(const std::vector<Bf16>& out, const std::vector<double>& expected) {
  for (size_t c = 0; c < kDim; ++c) {
    EXPECT_NEAR(static_cast<double>(to_float(out[c])), expected[c],
                8e-4 + std::fabs(expected[c]) / 64.0);
  }
}

// The four steps with a hook after the first, and statistics to begin with.
std::vector<Bf16> attend(const Row& row, SoftmaxStats stats,
                         const std::function<float(float)>& change) {
  const Team alone;
  std::vector<float> scores(kBlock);
  std::vector<float> weighted(kDim);
  std::vector<float> accumulated(kDim, 0.0F);
  for (int first = 0; first < kTokens; first += kBlock) {
    const int count = std::min(kBlock, kTokens - first);
    compute_qk_scores_and_max<kDim>(alone, row.q.data(), row.k.data() + first * kDim, count, kScale,
                                    scores.data());
    float maximum = kNoMaximum;
    for (int t = 0; t < count; ++t) {
      scores[static_cast<size_t>(t)] = change(scores[static_cast<size_t>(t)]);
      maximum = std::fmax(maximum, scores[static_cast<size_t>(t)]);
    }
    const SoftmaxStats block = compute_block_softmax_and_weighted_v<kDim>(
        alone, scores.data(), maximum, row.v.data() + first * kDim, count, weighted.data());
    stats = merge_block_stats<kDim>(alone, stats, block, weighted.data(), accumulated.data());
  }
  std::vector<Bf16> out(kDim);
  normalize_output<kDim>(alone, stats, accumulated.data(), out.data());
  return out;
}

// 3.1 Soft cap: scores are bent into (-cap, cap) before the softmax, cap * tanh(score / cap).
TEST(Exercise31, SoftCap) {
  const Row row;
  constexpr float kCap = 5.0F;
  const auto out = attend(row, {}, [](float s) { return kCap * std::tanh(s / kCap); });
  expect_near(out, truth(
                       row, [](double s) { return 5.0 * std::tanh(s / 5.0); }, 0.0));
}

// 3.2 Attention sink: a logit that takes weight and has no value. It is a block of its own, merged
// before the others: maximum = the logit, sum = 1, weighted values = 0.
TEST(Exercise32, AttentionSink) {
  const Row row;
  constexpr float kSink = 12.0F;
  const auto same = [](float s) { return s; };
  const auto out = attend(row, {.maximum = kSink, .sum = 1.0F}, same);
  expect_near(out, truth(
                       row, [](double s) { return s; }, std::exp(12.0)));
}

// 3.3 Conditional rescale: the row keeps its frame until a block's maximum is more than 8 powers of
// two above it. Exact up to rounding; counts how often the output was touched.
struct Conditional {
  std::vector<Bf16> out = std::vector<Bf16>(kDim);
  int rescales = 0;
};

Conditional attend_with_slack(const Row& row, float slack_log2) {
  Conditional result;
  std::vector<float> accumulated(kDim, 0.0F);
  float frame = kNoMaximum;
  float sum = 0.0F;
  for (int first = 0; first < kTokens; first += kBlock) {
    const int count = std::min(kBlock, kTokens - first);
    float scores[kBlock];
    const float maximum = compute_qk_scores_and_max<kDim>(
        Team{}, row.q.data(), row.k.data() + first * kDim, count, kScale * kLog2E, scores);
    if (maximum - frame > slack_log2) {
      const float factor = std::exp2(frame - maximum);
      for (float& value : accumulated) {
        value *= factor;
      }
      sum *= factor;
      frame = maximum;
      ++result.rescales;
    }
    for (int t = 0; t < count; ++t) {
      const float p = std::exp2(scores[t] - frame);  // up to 2^slack, never beyond float
      sum += p;
      for (int c = 0; c < kDim; ++c) {
        accumulated[static_cast<size_t>(c)] +=
            p * to_float(row.v[static_cast<size_t>((first + t) * kDim + c)]);
      }
    }
  }
  normalize_output<kDim>(Team{}, {frame, sum}, accumulated.data(), result.out.data());
  return result;
}

TEST(Exercise33, ConditionalRescaleChangesNothingButTheWork) {
  const Row row;
  const std::vector<double> expected = truth(
      row, [](double s) { return s; }, 0.0);
  const Conditional always = attend_with_slack(row, 0.0F);
  const Conditional seldom = attend_with_slack(row, 8.0F);
  expect_near(always.out, expected);
  expect_near(seldom.out, expected);
  EXPECT_GT(always.rescales, seldom.rescales);
  EXPECT_GE(seldom.rescales, 1);
}

}  // namespace
}  // namespace seesaw::ladder
