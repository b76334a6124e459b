// sparse_prefill on the CPU against a definition of the tests' own, and what it refuses.
#include <gtest/gtest.h>

#include <climits>
#include <cmath>
#include <limits>
#include <string>

#include "support/sparse_run.hpp"
#include "unit/engine/expect_error.hpp"

namespace seesaw::testing {
namespace {

using lab::Strangers;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Cases of one query token a sequence, over pages of one row.
SparseSpec prefill(SparseSpec spec, int64_t rows = 300) {
  spec.cache.page_size = 1;
  spec.cache.pages = rows;
  return spec;
}

class Prefill : public ::testing::TestWithParam<const char*> {
 protected:
  SparseRunOptions options() const { return {.kernel = GetParam(), .threads = 3, .prefill = true}; }
  void expect_contract(const SparseSpec& spec) const {
    expect_sparse_contract(SparseCase(spec), options());
  }
};
INSTANTIATE_TEST_SUITE_P(Kernels, Prefill, ::testing::Values("cpu", "reference"),
                         [](const auto& kernel) { return std::string(kernel.param); });

TEST_P(Prefill, EveryFormatWhoseRecordIsARow) {
  for (const int32_t format :
       {int32_t{SEESAW_BFLOAT16}, int32_t{SEESAW_FLOAT16}, int32_t{SEESAW_FLOAT32},
        int32_t{SEESAW_FORMAT_FP8_656}, int32_t{SEESAW_FORMAT_FP8_576}}) {
    expect_contract(
        prefill({.batch = 7,
                 .h_q = 5,
                 .q_dtype = format < SEESAW_FORMAT_FP8_656 ? format : int32_t{SEESAW_BFLOAT16},
                 .cache = {.format = format, .topk = 90, .scale = 0.75F}}));
  }
}

TEST_P(Prefill, TokensHeadsAndLists) {
  for (const int64_t tokens : {1, 2, 61}) {
    for (const int64_t topk : {1, 64, 130}) {
      expect_contract(prefill({.batch = tokens, .h_q = 3, .cache = {.topk = topk}}));
    }
  }
  for (const int64_t heads : {1, 64, 128}) {
    expect_contract(prefill({.batch = 3, .h_q = heads, .cache = {.topk = 70}}));
  }
  expect_contract(prefill({.batch = 3, .h_q = 3, .d_qk = 512}, 40));
}

TEST_P(Prefill, LengthsSinksAndStrangers) {
  expect_contract(prefill({.batch = 6,
                           .h_q = 3,
                           .cache = {.topk = 100, .lengths = {0, 1, 64, 100, INT_MAX, -1}},
                           .strangers = Strangers::kAnything,
                           .sinks = {1.0F, -2.0F, INFINITY},
                           .q_gap = 8,
                           .out_gap = 8,
                           .list_gap = 3}));
  expect_contract(prefill({.batch = 4,
                           .h_q = 2,
                           .lse_base = SEESAW_LSE_BASE2,
                           .empty_lse = SEESAW_EMPTY_LSE_POSITIVE_INFINITY}));
}

TEST_P(Prefill, NothingToAttend) {
  SparseSpec spec = prefill({.batch = 2, .h_q = 2}, 0);
  spec.empty_lse = SEESAW_EMPTY_LSE_POSITIVE_INFINITY;
  const SparseResults results = run_sparse(SparseCase(spec), options());
  for (size_t row = 0; row < results.lse.size(); ++row) {
    EXPECT_EQ(results.lse[row], kInfinity);
    EXPECT_EQ(results.max_logits[row], -kInfinity);
    EXPECT_EQ(results.out[row * 512], 0.0);
  }
}

TEST_P(Prefill, FewerTokensThanPlannedAndNone) {
  expect_contract(prefill({.batch = 2, .h_q = 3, .planned_batch = 9}));
  EXPECT_TRUE(run_sparse(SparseCase(prefill({.batch = 0, .h_q = 3})), options()).out.empty());
}

TEST(PrefillRefusals, Problems) {
  const auto refused = [](seesaw_sparse_prefill_problem problem, const char* words,
                          seesaw_status status = SEESAW_INVALID_ARGUMENT) {
    problem.s_q = problem.s_q == 0 ? 1 : problem.s_q;
    problem.h_q = problem.h_q == 0 ? 1 : problem.h_q;
    problem.topk = problem.topk == 0 ? 1 : problem.topk;
    seesaw_plan* plan = nullptr;
    expect_refusal(status, words, seesaw_sparse_prefill_plan_create(&problem, nullptr, &plan));
  };
  refused({.s_q = -1}, "s_q = -1");
  refused({.h_kv = 2}, "h_kv = 2");
  refused({.topk = -1}, "topk = -1");
  refused({.d_qk = 64, .d_v = 65}, "d_v = 65");
  refused({.kv_format = SEESAW_FORMAT_FP8_584, .d_qk = 512}, "kv_format = fp8_584, whose scales");
  refused({.kv_format = SEESAW_FORMAT_FP8_656, .d_qk = 512}, "d_qk = 512 with kv_format = fp8_656");
  refused({.kv_columns = 600}, "kv_columns = 600");
  refused({.q_dtype = SEESAW_INT32}, "q_dtype = 4", SEESAW_INVALID_TYPE);
}

TEST(PrefillRefusals, Calls) {
  SparseCase on(prefill({.batch = 3, .h_q = 2, .cache = {.topk = 20, .lengths = {20, 20, 7}}}));
  seesaw_options options = on.options("reference.sparse_prefill");
  options.check_data = 1;
  const SparsePrefill plan(on.prefill_problem(), options);
  std::vector<unsigned char> out(on.out_bytes(), 0xA5);
  const AlignedBuffer schedule(plan.schedule_bytes());
  const AlignedBuffer workspace(plan.workspace_bytes());
  const seesaw_call call{.schedule = schedule.data(),
                         .schedule_bytes = schedule.size(),
                         .workspace = workspace.data(),
                         .workspace_bytes = workspace.size()};
  seesaw_sparse_prefill_args right = on.prefill_inputs();
  right.out = make_tensor(out.data(), SEESAW_BFLOAT16, {3, 2, 512});
  plan.prepare(right, call);
  const auto refused = [&](const char* words, const seesaw_sparse_prefill_args& args,
                           seesaw_status status = SEESAW_INVALID_ARGUMENT) {
    expect_refusal(status, words, seesaw_sparse_prefill_run(plan.get(), &args, &call));
    for (const unsigned char byte : out) {
      ASSERT_EQ(byte, 0xA5);
    }
  };
  seesaw_sparse_prefill_args args = right;
  args.indices.shape[1] = 2;
  refused("indices has shape", args);
  args = right;
  args.indices.shape[0] = 4;
  refused("n = indices.shape[0] = 4", args);
  args = right;
  args.indices.dtype = SEESAW_INT64;
  refused("indices has dtype int64", args, SEESAW_INVALID_TYPE);
  args = right;
  args.kv.stride[0] += 1;
  refused("kv has stride", args);
  float scales[2] = {1, 1};
  args = right;
  args.kv_scale = make_tensor(scales, SEESAW_FLOAT32, {2});
  refused("kv_scale has shape [2]", args);
  on.set_slot(0, 2, 0, 6, 300);
  refused("indices[2, 0, 6] = 300", right);
  on.set_slot(0, 2, 0, 6, -1);
  seesaw_sparse_prefill_problem told = SparsePrefill::problem_of(right);
  EXPECT_EQ(told.s_q, 3);
  EXPECT_EQ(told.topk, 20);
  EXPECT_EQ(told.kv_token_stride, 576);
  plan.run(right, call);
}

}  // namespace
}  // namespace seesaw::testing
