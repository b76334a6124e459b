// The four steps of flash attention as a CPU program, against the double reference.
#include "ladder/four_steps_cpu.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "ladder/inputs.hpp"

namespace seesaw::ladder {
namespace {

Deviation run(const ProblemSpec& spec, const FlashBlocks& blocks) {
  HostProblem host(spec);
  const Problem problem = host.view();
  run_four_steps_cpu(problem, blocks);
  const std::vector<int64_t> rows = rows_to_check(problem, 1 << 20);
  return compare_rows(host.out, rows, reference_rows(problem, rows));
}

TEST(FourStepsCpu, AnyBlockSizes) {
  for (const int rows : {1, 4, 7, 64}) {
    for (const int tokens : {1, 32, 64, 100, 1024}) {
      const Deviation deviation =
          run({.heads = 9, .seq_lens = {1, 64, 65, 300}}, {.rows = rows, .tokens = tokens});
      EXPECT_TRUE(deviation.ok()) << rows << " x " << tokens << ": "
                                  << deviation.max_error_over_bound << " of the bound";
    }
  }
}

TEST(FourStepsCpu, LargeScores) {
  EXPECT_TRUE(
      run({.heads = 8, .seq_lens = {200}, .scale = 60.0F * ProblemSpec::kModelScale}, {}).ok());
}

// Plain attention in double for the other head dimensions.
template <int kHeadDim>
void expect_attention(int tokens) {
  std::vector<Bf16> q(kHeadDim);
  std::vector<Bf16> k(static_cast<size_t>(tokens) * kHeadDim);
  std::vector<Bf16> v(k.size());
  std::vector<Bf16> out(kHeadDim);
  for (size_t i = 0; i < q.size(); ++i) {
    q[i] = to_bf16(std::sin(static_cast<float>(i)));
  }
  for (size_t i = 0; i < k.size(); ++i) {
    k[i] = to_bf16(std::cos(0.37F * static_cast<float>(i)));
    v[i] = to_bf16(0.1F * std::sin(0.11F * static_cast<float>(i)));
  }
  const float scale = 1.0F / std::sqrt(static_cast<float>(kHeadDim));
  flash_attention_rows<kHeadDim, kHeadDim>(
      {q.data(), k.data(), v.data(), 1, tokens, scale, out.data()}, {.rows = 1, .tokens = 48});
  double sum = 0.0;
  std::vector<double> expected(kHeadDim, 0.0);
  for (int t = 0; t < tokens; ++t) {
    double dot = 0.0;
    for (int c = 0; c < kHeadDim; ++c) {
      dot += static_cast<double>(to_float(q[static_cast<size_t>(c)])) *
             static_cast<double>(to_float(k[static_cast<size_t>(t * kHeadDim + c)]));
    }
    const double weight = std::exp(dot * static_cast<double>(scale));
    sum += weight;
    for (int c = 0; c < kHeadDim; ++c) {
      expected[static_cast<size_t>(c)] +=
          weight * static_cast<double>(to_float(v[static_cast<size_t>(t * kHeadDim + c)]));
    }
  }
  for (int c = 0; c < kHeadDim; ++c) {
    const double want = expected[static_cast<size_t>(c)] / sum;
    EXPECT_NEAR(static_cast<double>(to_float(out[static_cast<size_t>(c)])), want,
                8e-4 + std::fabs(want) / 64.0);
  }
}

TEST(FourStepsCpu, HeadDimension64) { expect_attention<64>(500); }
TEST(FourStepsCpu, HeadDimension128) { expect_attention<128>(333); }

// Step 3 is a merge of any two partial results: the order and the grouping of blocks do not matter.
TEST(MergeBlockStats, OrderAndGroupingDoNotMatter) {
  const Team alone;
  const SoftmaxStats stats[3] = {{1.0F, 2.5F}, {-40.0F, 1.0F}, {3.0F, 1.25F}};
  const float weighted[3] = {0.5F, -7.0F, 2.0F};  // one column
  const auto merge = [&](const std::vector<int>& order) {
    SoftmaxStats row;
    float accumulated = 0.0F;
    for (const int i : order) {
      row = merge_block_stats<1>(alone, row, stats[i], &weighted[i], &accumulated);
    }
    return accumulated / row.sum;
  };
  const float forward = merge({0, 1, 2});
  EXPECT_NEAR(merge({2, 1, 0}), forward, 1e-6F);
  EXPECT_NEAR(merge({1, 2, 0}), forward, 1e-6F);
  float pair = weighted[1];
  const SoftmaxStats joined = merge_block_stats<1>(alone, stats[1], stats[2], &weighted[2], &pair);
  float all = weighted[0];
  const SoftmaxStats total = merge_block_stats<1>(alone, stats[0], joined, &pair, &all);
  EXPECT_NEAR(all / total.sum, forward, 1e-6F);
}

TEST(NormalizeOutput, ARowThatSawNothingIsZero) {
  const float accumulated = 0.0F;
  Bf16 out = 0xFFFF;
  normalize_output<1>(Team{}, SoftmaxStats{}, &accumulated, &out);
  EXPECT_EQ(out, 0);
}

}  // namespace
}  // namespace seesaw::ladder
