// Large pools, large batches, and no allocation while running.
#include <omp.h>

#include "support/allocation_count.hpp"
#include "support/guarded_buffer.hpp"
#include "unit/ops/dense_decode/kernel_test.hpp"

namespace seesaw::testing {
namespace {

class Memory : public KernelTest {};

INSTANTIATE_TEST_SUITE_P(Kernels, Memory, every_kernel(), kernel_name);

// Pages 2^29 elements apart: offsets pass 2^31 and 2^32 elements.
TEST_P(Memory, PoolsBeyondTwoToTheThirtyOneElements) {
  for (const seesaw_dtype dtype : {SEESAW_BFLOAT16, SEESAW_FLOAT32}) {
    DecodeSpec spec{.seq_lens = {100, 37},
                    .h_q = 4,
                    .d_qk = 64,
                    .d_v = 64,
                    .page_size = 16,
                    .q_dtype = dtype,
                    .kv_dtype = dtype};
    spec.gaps.kv_page = int64_t{1} << 29;
    spec.sparse_pool = true;
    expect_contract(spec);
  }
}

TEST_P(Memory, SeventyThousandSequences) {
  DecodeSpec spec{.h_q = 2, .d_qk = 16, .d_v = 8, .page_size = 2};
  spec.seq_lens.resize(70'000);
  for (size_t i = 0; i < spec.seq_lens.size(); ++i) {
    spec.seq_lens[i] = static_cast<int32_t>(i * 7 % 5);
  }
  for (const bool invariant : {false, true}) {
    spec.batch_invariant = invariant;
    expect_contract(spec);
  }
}

TEST_P(Memory, RunAllocatesNothing) {
  if (!allocations_are_counted()) {
    GTEST_SKIP() << "the sanitizers' allocator is not counted";
  }
  const DecodeCase test_case({.seq_lens = {700, 0, 65}, .s_q = 2, .h_q = 16});
  const RunOptions chosen = options(2);
  const HostCall call(test_case, test_case.options(chosen.kernel.c_str(), chosen.threads));
  call.prepare();
  call.run();  // OpenMP makes its threads once
  const int64_t before = allocation_count();
  for (int repeat = 0; repeat < 5; ++repeat) {
    call.prepare();
    call.run();
  }
  EXPECT_EQ(allocation_count() - before, 0);
}

}  // namespace
}  // namespace seesaw::testing
