// What is wrong in the study notes' kernels, shown: each fault with a control that passes where the
// fault does not bite, so that the failure is the fault's and not the exhibit's.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "ladder/inputs.hpp"
#include "notes_kernels.hpp"

namespace seesaw::ladder {
namespace {

constexpr int64_t kRow = 1;

// Weighted values of all columns, compared with the reference.
Deviation compare(HostProblem& host, const std::vector<float>& weights) {
  const Problem p = host.view();
  for (int c = 0; c < kValueColumns; ++c) {
    float sum = 0.0F;
    for (size_t t = 0; t < weights.size(); ++t) {
      sum += weights[t] * to_float(p.v[t * kValueColumns + static_cast<size_t>(c)]);
    }
    p.out[kRow * kValueColumns + c] = to_bf16(sum);
  }
  const std::vector<int64_t> rows = {kRow};
  return compare_rows(host.out, rows, reference_rows(p, rows));
}

ProblemSpec spec_with(int tokens, float scale_factor) {
  return {.heads = 2, .seq_lens = {tokens}, .scale = scale_factor * ProblemSpec::kModelScale};
}

TEST(NotesKernel1, WithoutMaximumSmallScoresAreFine) {
  HostProblem host(spec_with(300, 1.0F));
  EXPECT_TRUE(compare(host, notes::softmax_without_maximum(host.view(), kRow)).ok());
}

TEST(NotesKernel1, WithoutMaximumLargeScoresAreNan) {
  HostProblem host(spec_with(300, 60.0F));
  const std::vector<float> weights = notes::softmax_without_maximum(host.view(), kRow);
  EXPECT_FALSE(compare(host, weights).ok());
  float sum = 0.0F;
  for (const float weight : weights) {
    sum += weight;
  }
  EXPECT_TRUE(std::isnan(sum)) << "infinity / infinity";
}

TEST(NotesKernel1, OneNumberPerHeadIsNoColumnOfTheAnswer) {
  HostProblem host(spec_with(300, 1.0F));
  const Problem p = host.view();
  const std::vector<float> weights = notes::softmax_without_maximum(p, kRow);
  const std::vector<int64_t> rows = {kRow};
  const std::vector<double> reference = reference_rows(p, rows);
  const auto single = static_cast<double>(notes::single_output(p, weights));
  EXPECT_GT(std::fabs(single - reference[0]), 8e-4 + std::fabs(reference[0]) / 64.0);
}

TEST(NotesKernel2, WrappedKeysAreFineUpToTheLatentDimension) {
  HostProblem host(spec_with(kQkColumns, 1.0F));
  EXPECT_TRUE(compare(host, notes::softmax_of_wrapped_keys(host.view(), kRow)).ok());
}

TEST(NotesKernel2, WrappedKeysAreWrongBeyondIt) {
  HostProblem host(spec_with(2 * kQkColumns, 1.0F));
  EXPECT_FALSE(compare(host, notes::softmax_of_wrapped_keys(host.view(), kRow)).ok());
}

TEST(NotesKernel2, LongSequencesDoNotFitInSharedMemory) {
  constexpr size_t kDefaultLimit = 49152;
  constexpr size_t kHopperLimit = 232448;
  EXPECT_LE(notes::shared_bytes(kQkColumns, 5568), kDefaultLimit);
  EXPECT_GT(notes::shared_bytes(kQkColumns, 5569), kDefaultLimit);
  EXPECT_LE(notes::shared_bytes(kQkColumns, 28480), kHopperLimit);
  EXPECT_GT(notes::shared_bytes(kQkColumns, 28481), kHopperLimit);
}

}  // namespace
}  // namespace seesaw::ladder
