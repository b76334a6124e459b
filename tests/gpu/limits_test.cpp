// Sizes past the limits that 32-bit addressing and grid dimensions would set.
#include <gtest/gtest.h>

#include "dense_case.hpp"

namespace seesaw::gpu_test {
namespace {

TEST(Limits, BatchOf70000) {
  DenseCase c;
  c.b = 70000;
  c.s_k = 70;
  c.h_q = 16;
  c.lengths = Lengths::kVaried;
  for (const uint32_t flags : {0U, uint32_t{kBatchInvariant}}) {
    c.flags = flags;
    DenseRun run;
    run.prepare(c);
    run.plan();
    run.poison_results();
    run.schedule();
    run.run();
    EXPECT_EQ(verdict(c, run.compare()), "");
  }
}

// Blocks of many tiny pieces, some with an empty one last, launched back to back: a copy that
// outlived its block once landed in the next launch's (docs/notebook/0007), in one run of seven.
TEST(Limits, TinySequencesBackToBack) {
  DenseCase c;
  c.b = 2000;
  c.s_k = 64;
  c.h_q = 16;
  DenseRun run;
  for (uint64_t seed = 0; seed < 4; ++seed) {
    c.seed = seed + 1;
    c.lengths = Lengths::kVaried;
    std::vector<int32_t> lengths = make_lengths(c);
    for (size_t i = seed; i < lengths.size(); i += 3) {
      lengths[i] = 0;
    }
    run.prepare(c, lengths);
    run.plan();
    run.poison_results();
    run.schedule();
    for (int repeat = 0; repeat < 50; ++repeat) {
      run.run();
    }
    EXPECT_EQ(verdict(c, run.compare()), "") << seed;
  }
}

// The random table spreads the live pages over a pool of 2^31 elements and more.
TEST(Limits, APoolPast2To31Elements) {
  DenseCase c;
  c.b = 64;
  c.s_k = 4096;
  c.h_q = 64;
  c.spare_pages = 60000;  // of 64 x 576 elements
  DenseRun run;
  run.prepare(c);
  run.plan();
  run.poison_results();
  run.schedule();
  run.run();
  EXPECT_GT(run.tensors().kv_cache.shape[0] * run.tensors().kv_cache.stride[0], int64_t{1} << 31);
  EXPECT_EQ(verdict(c, run.compare()), "");
}

// More row tiles than the GPU has SMs: one worker, and several waves of blocks.
TEST(Limits, ManyQueryTokensAndHeads) {
  DenseCase c;
  c.b = 2;
  c.s_q = 40;
  c.s_k = 300;
  c.h_q = 300;
  c.flags = kCausal;
  DenseRun run;
  run.prepare(c);
  run.plan();
  run.poison_results();
  run.schedule();
  run.run();
  EXPECT_EQ(verdict(c, run.compare()), "");
}

}  // namespace
}  // namespace seesaw::gpu_test
