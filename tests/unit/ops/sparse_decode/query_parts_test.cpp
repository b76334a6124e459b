// Queries in two parts, in sparse decoding and in sparse prefill: the same bits as of one tensor.
#include <gtest/gtest.h>

#include <string>

#include "support/sparse_run.hpp"
#include "unit/engine/expect_error.hpp"

namespace seesaw::testing {
namespace {

class SparseParts : public ::testing::TestWithParam<const char*> {
 protected:
  static void expect_same_bits(const SparseSpec& spec, bool prefill = false, int64_t d_rope = 64) {
    const SparseCase test_case(spec);
    SparseRunOptions options = {.kernel = GetParam(), .threads = 3, .prefill = prefill};
    const SparseResults one = run_sparse(test_case, options);
    for (const QueryParts::Memory memory : kMemoriesOfParts) {
      const seesaw_tensor q = prefill ? test_case.prefill_inputs().q : test_case.inputs().q;
      const QueryParts parts(q, d_rope, memory);
      options.parts = &parts;
      EXPECT_TRUE(run_sparse(test_case, options) == one)
          << describe(spec) << " d_rope " << d_rope << " memory " << static_cast<int>(memory);
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Kernels, SparseParts, ::testing::Values("cpu", "reference"),
                         [](const auto& kernel) { return std::string(kernel.param); });

TEST_P(SparseParts, Decode) {
  for (const int64_t d_rope : {64, 7, 575}) {
    expect_same_bits({.s_q = 2, .h_q = 9, .cache = {.topk = 70, .lengths = {70, 3}}, .q_gap = 5},
                     false, d_rope);
  }
  expect_same_bits({.h_q = 20,
                    .cache = {.format = SEESAW_FORMAT_FP8_656, .topk = 40},
                    .extra = {.format = SEESAW_FORMAT_FP8_656, .topk = 9},
                    .sinks = std::vector<float>(20, 0.5F)});
}

TEST_P(SparseParts, Prefill) {
  for (const int64_t d_rope : {64, 7, 575}) {
    expect_same_bits({.batch = 7, .h_q = 9, .cache = {.topk = 50, .page_size = 1, .pages = 90}},
                     true, d_rope);
  }
}

TEST(SparsePartsRefused, CallsThatAreNotAsPlanned) {
  const SparseCase test_case({.h_q = 4});
  const QueryParts parts(test_case.inputs().q, 64, QueryParts::Memory::kShared);
  SparseOutputs outputs(test_case);
  const SparseDecode plan(parts.problem(test_case.problem()), test_case.options());
  const auto refused = [&](const seesaw_sparse_decode_args& args, const char* words,
                           seesaw_status status) {
    const seesaw_call call;
    expect_refusal(status, words, seesaw_plan_run(plan.get(), &args, &call));
  };
  seesaw_sparse_decode_args args = parts.args(outputs.decode_args(test_case));
  args.q_rotary.dtype = SEESAW_FLOAT32;
  refused(args, "q_rotary has dtype float32, allowed: bfloat16", SEESAW_INVALID_TYPE);
  args.q_rotary = {};
  refused(args, "q_rotary not given with d_rope = 64", SEESAW_INVALID_ARGUMENT);
}

}  // namespace
}  // namespace seesaw::testing
