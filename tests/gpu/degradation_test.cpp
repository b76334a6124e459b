// On a GPU: kernels disabled one by one, and what the counters know of its calls.
#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>

#include "dense_case.hpp"

namespace seesaw::gpu_test {
namespace {

DenseCase some_case() {
  DenseCase c;
  c.b = 5;
  c.s_q = 2;
  c.s_k = 700;
  c.lengths = Lengths::kVaried;
  c.flags = kCausal;
  return c;
}

// Kernels that can run the plan's problem now, in order.
std::vector<std::string> able_kernels() {
  std::vector<std::string> names;
  for (const KernelSupport& answer :
       DenseDecode::supports({.batch = 5, .s_q = 2, .h_q = 16, .max_pages_per_sequence = 11},
                             {.device = {SEESAW_CUDA, 0}})) {
    if (answer.supported) {
      names.push_back(answer.kernel);
    }
  }
  return names;
}

class Degradation : public testing::Test {
 protected:
  void SetUp() override {
    if (const char* before = std::getenv("SEESAW_DISABLE")) {
      before_ = before;
    }
  }
  void TearDown() override {
    if (before_) {
      setenv("SEESAW_DISABLE", before_->c_str(), 1);
    } else {
      unsetenv("SEESAW_DISABLE");
    }
  }
  std::optional<std::string> before_;
};

TEST_F(Degradation, TheNextKernelServesUntilNoneIsLeft) {
  const std::vector<std::string> able = able_kernels();
  ASSERT_FALSE(able.empty());
  std::string disabled;
  for (const std::string& kernel : able) {
    DenseRun run;  // of its own: a run keeps its plan
    run.prepare(some_case());
    run.plan();
    EXPECT_EQ(run.decode().kernel(), kernel);
    run.poison_results();
    run.schedule();
    run.run();
    EXPECT_EQ(verdict(run.of(), run.compare()), "") << kernel;
    disabled += disabled.empty() ? kernel : "," + kernel;
    setenv("SEESAW_DISABLE", disabled.c_str(), 1);
  }
  EXPECT_TRUE(able_kernels().empty());
  DenseRun run;
  run.prepare(some_case());
  try {
    run.plan();
    FAIL() << "planned with every kernel disabled";
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_EQ(error.status(), SEESAW_NOT_SUPPORTED);
    EXPECT_NE(message.find("SEESAW_DISABLE"), std::string::npos) << message;
    EXPECT_NE(message.find(", allowed: "), std::string::npos) << message;
  }
}

// Lengths and schedule lie on the device: what would have to wait for it is not counted.
TEST(Stats, OfAGpuCallTheHostCountsWhatItKnows) {
  DenseRun run;
  run.prepare(some_case());
  run.plan();
  const auto row = [&] {
    for (const seesaw_stats& found : stats()) {
      if (std::string(found.kernel) == run.decode().kernel()) {
        return found;
      }
    }
    return seesaw_stats{};
  };
  const seesaw_stats before = row();
  EXPECT_EQ(before.lengths_known, 0);
  run.schedule();
  run.run();
  const seesaw_stats after = row();
  EXPECT_EQ(after.calls[SEESAW_STATS_RUN][SEESAW_OK] - before.calls[SEESAW_STATS_RUN][SEESAW_OK],
            1U);
  EXPECT_EQ(after.sequences - before.sequences, 5U);
  EXPECT_EQ(after.tensor_bytes - before.tensor_bytes, 5U * 2 * 16 * ((576 + 512) * 2 + 4));
  const auto columns = static_cast<uint64_t>(run.tensors().block_table.shape[1]);
  EXPECT_EQ(after.kv_bytes_planned - before.kv_bytes_planned, 5U * columns * 64 * 576 * 2);
  EXPECT_EQ(after.kv_tokens, 0U);
  EXPECT_EQ(after.kv_bytes, 0U);
  EXPECT_EQ(after.pieces, 0U);
}

}  // namespace
}  // namespace seesaw::gpu_test
