// Queries in two parts: the same bits as of one tensor that holds both, whatever their strides; and
// what is refused of them.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "unit/engine/expect_error.hpp"
#include "unit/ops/dense_decode/kernel_test.hpp"

namespace seesaw::testing {
namespace {

class Parts : public KernelTest {
 protected:
  static void expect_same_bits(const DecodeSpec& spec, int64_t d_rope = 64) {
    const DecodeCase test_case(spec);
    const DecodeResults one = run_case(test_case, options());
    for (const QueryParts::Memory memory : kMemoriesOfParts) {
      const QueryParts parts(test_case.inputs().q, d_rope, memory);
      RunOptions in_parts = options();
      in_parts.parts = &parts;
      EXPECT_TRUE(run_case(test_case, in_parts) == one)
          << describe(spec) << " d_rope " << d_rope << " memory " << static_cast<int>(memory);
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Kernels, Parts, every_kernel(), kernel_name);

TEST_P(Parts, OfAnyWidth) {
  for (const int64_t d_rope : {64, 1, 37, 512, 575}) {
    expect_same_bits({.seq_lens = {200, 0, 37}, .s_q = 2, .h_q = 9, .causal = 1}, d_rope);
  }
  expect_same_bits({.seq_lens = {90}, .h_q = 5, .d_qk = 40, .d_v = 24}, 16);
}

TEST_P(Parts, OfAnyType) {
  for (const seesaw_dtype dtype : {SEESAW_FLOAT32, SEESAW_FLOAT16, SEESAW_BFLOAT16}) {
    for (const int64_t heads : {1, 16, 128}) {
      expect_same_bits({.seq_lens = {130, 70},
                        .h_q = heads,
                        .q_dtype = dtype,
                        .kv_dtype = dtype,
                        .gaps = {.q = 3}});
    }
  }
  expect_same_bits({.seq_lens = {130, 70}, .h_q = 16, .kv_format = SEESAW_FORMAT_FP8_656});
}

TEST_P(Parts, WithMasksAndRaggedQueries) {
  expect_same_bits({.seq_lens = {300, 65}, .s_q = 3, .h_q = 6, .causal = 1, .window = 100});
  DecodeSpec spec = {.seq_lens = {130, 70, 0, 300}, .s_q = 7, .h_q = 6, .causal = 1};
  spec.query_lens = {1, 7, 0, 3};
  spec.max_logits = true;
  expect_same_bits(spec);
}

// Scales that go into the queries whole or in part.
TEST_P(Parts, WithAnyScale) {
  for (const float scale : {0.0F, 1e-30F, -0.1F}) {
    expect_same_bits({.seq_lens = {130, 70}, .h_q = 6, .scale = scale});
  }
}

class PartsRefused : public ::testing::Test {
 protected:
  PartsRefused()
      : test_case_({.seq_lens = {70, 9}, .h_q = 4}),
        parts_(test_case_.inputs().q, 64, QueryParts::Memory::kShared),
        call_(test_case_, test_case_.options(), &parts_) {
    call_.prepare();
  }

  void expect_refused(const seesaw_dense_decode_args& args, const char* words,
                      seesaw_status status = SEESAW_INVALID_ARGUMENT) const {
    expect_refusal(status, words, seesaw_plan_run(call_.decode.get(), &args, &call_.call));
    const auto* bytes = call_.out.data();
    EXPECT_TRUE(std::all_of(bytes, bytes + call_.out.size(),
                            [](unsigned char byte) { return byte == GuardedBuffer::kPoisonByte; }));
  }

  const DecodeCase test_case_;
  const QueryParts parts_;
  const HostCall call_;
};

TEST_F(PartsRefused, CallsThatAreNotAsPlanned) {
  seesaw_dense_decode_args args = call_.args;
  args.q_rotary = {};
  expect_refused(args, "q_rotary not given with d_rope = 64");
  args = call_.args;
  args.q_rotary.dtype = SEESAW_FLOAT16;
  expect_refused(args, "q_rotary has dtype float16, allowed: bfloat16", SEESAW_INVALID_TYPE);
  args = call_.args;
  args.q_rotary.shape[3] = 32;
  expect_refused(args, "q_rotary has shape [2, 1, 4, 32]");
  args = call_.args;
  args.q_rotary.shape[0] = 1;
  expect_refused(args, "q_rotary has shape [1, 1, 4, 64]");
  args = call_.args;
  args.q_rotary.stride[3] = 2;
  expect_refused(args, "q_rotary has stride 2 in dimension 3");
  args = call_.args;
  args.q.shape[3] = 576;
  expect_refused(args, "q has shape [2, 1, 4, 576], allowed: [b, s_q, h_q, d_qk - d_rope] = ");
}

TEST_F(PartsRefused, APlanOfWholeQueries) {
  const HostCall whole(test_case_, test_case_.options());
  seesaw_dense_decode_args args = whole.args;
  args.q_rotary = call_.args.q_rotary;
  whole.prepare();
  expect_refusal(SEESAW_INVALID_ARGUMENT, "q_rotary has shape [2, 1, 4, 64], allowed: ",
                 seesaw_plan_run(whole.decode.get(), &args, &whole.call));
}

TEST_F(PartsRefused, NoColumnsLeftForQ) {
  seesaw_dense_decode_problem problem = test_case_.problem();
  problem.d_rope = 576;
  seesaw_plan* plan = nullptr;
  expect_refusal(SEESAW_INVALID_ARGUMENT, "d_rope = 576, allowed: 0 to 575",
                 seesaw_dense_decode_plan_create(&problem, nullptr, &plan));
}

TEST_F(PartsRefused, ButTensorsTellTheProblem) {
  const seesaw_dense_decode_problem found = DenseDecode::problem_of(call_.args);
  EXPECT_EQ(found.d_rope, 64);
  EXPECT_EQ(found.d_qk, 576);
  EXPECT_EQ(DenseDecode::problem_of(test_case_.inputs()).d_rope, 0);
}

TEST_F(PartsRefused, WidthsWhoseSumIsTooLarge) {
  seesaw_dense_decode_args args = call_.args;
  args.q.shape[3] = std::numeric_limits<int64_t>::max();
  const seesaw_dense_decode_problem found = DenseDecode::problem_of(args);
  seesaw_plan* plan = nullptr;
  expect_refusal(SEESAW_INVALID_ARGUMENT, "d_qk = 9223372036854775807",
                 seesaw_dense_decode_plan_create(&found, nullptr, &plan));
}

}  // namespace
}  // namespace seesaw::testing
