// Same inputs, same bits; in batch-invariant mode also whatever else is in the batch and however
// many workers there are.
#include <thread>
#include <vector>

#include "unit/ops/dense_decode/kernel_test.hpp"

namespace seesaw::testing {
namespace {

class Determinism : public KernelTest {
 protected:
  static DecodeSpec mixed_batch(bool invariant) {
    return {.seq_lens = {700, 1, 0, 65, 1300, 64},
            .s_q = 2,
            .h_q = 9,
            .causal = 1,
            .batch_invariant = invariant,
            .scale = 1.0F};
  }

  // Rows of sequences [first, first + count) of a batch's results.
  static DecodeResults slice(const DecodeSpec& spec, const DecodeResults& results, int64_t first,
                             int64_t count) {
    const int64_t rows = spec.s_q * spec.h_q;
    const auto out = results.out.begin() + first * rows * spec.d_v;
    const auto lse = results.lse.begin() + first * rows;
    return {{out, out + count * rows * spec.d_v}, {lse, lse + count * rows}};
  }
};

INSTANTIATE_TEST_SUITE_P(Kernels, Determinism, every_kernel(), kernel_name);

TEST_P(Determinism, RepeatedRunsGiveTheSameBits) {
  for (const bool invariant : {false, true}) {
    const DecodeSpec spec = mixed_batch(invariant);
    for (const int32_t threads : {1, 4}) {
      const DecodeResults first = run(spec, threads);
      for (int repeat = 0; repeat < 3; ++repeat) {
        EXPECT_TRUE(first == run(spec, threads)) << threads << " threads";
      }
    }
  }
}

TEST_P(Determinism, BatchInvariantModeIgnoresTheNumberOfWorkers) {
  const DecodeSpec spec = mixed_batch(true);
  const DecodeResults one = run(spec, 1);
  for (int32_t threads = 2; threads <= 5; ++threads) {
    EXPECT_TRUE(one == run(spec, threads)) << threads << " threads";
  }
}

TEST_P(Determinism, BatchInvariantModeIgnoresTheRestOfTheBatch) {
  DecodeSpec batch = mixed_batch(true);
  batch.table_pages = 24;
  const DecodeResults together = run(batch);
  for (int64_t i = 0; i < batch.batch(); ++i) {
    DecodeSpec alone = batch;
    alone.seq_lens = {batch.seq_lens[static_cast<size_t>(i)]};
    alone.first_id = static_cast<uint64_t>(i);
    EXPECT_TRUE(slice(batch, together, i, 1) == run(alone, 2)) << "sequence " << i;
  }
}

TEST_P(Determinism, TheOrderOfPagesChangesNoBit) {
  for (const int64_t page_size : {1, 61, 64}) {
    DecodeSpec spec = mixed_batch(false);
    spec.page_size = page_size;
    const DecodeResults first = run(spec);
    for (uint64_t page_seed = 2; page_seed < 5; ++page_seed) {
      spec.page_seed = page_seed;
      EXPECT_TRUE(first == run(spec)) << "pages of " << page_size;
    }
  }
}

TEST_P(Determinism, GapsBetweenRowsChangeNoBit) {
  DecodeSpec spec = mixed_batch(false);
  const DecodeResults packed = run(spec);
  spec.gaps = {.q = 3, .kv_token = 5, .kv_page = 9, .out = 1, .lse = 2};
  EXPECT_TRUE(packed == run(spec));
}

TEST_P(Determinism, CallsFromSeveralThreadsDoNotDisturbEachOther) {
  const DecodeCase test_case(mixed_batch(false));
  const DecodeResults alone = run_case(test_case, options(2));
  std::vector<DecodeResults> results(4);
  std::vector<std::thread> threads;
  const RunOptions chosen = options(2);
  for (DecodeResults& result : results) {
    threads.emplace_back([&] { result = run_case(test_case, chosen); });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (const DecodeResults& result : results) {
    EXPECT_TRUE(alone == result);
  }
}

}  // namespace
}  // namespace seesaw::testing
