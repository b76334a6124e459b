// What sparse_decode refuses, in four parts and before anything is written; its tables, and what it
// counts.
#include <gtest/gtest.h>

#include <algorithm>
#include <climits>
#include <functional>
#include <string>
#include <vector>

#include "lab/sparse_case.hpp"
#include "unit/engine/expect_error.hpp"

namespace seesaw::testing {
namespace {

using lab::SparseCase;
using lab::SparseSpec;

void expect_bad_problem(seesaw_sparse_decode_problem problem, const char* words,
                        seesaw_status status = SEESAW_INVALID_ARGUMENT) {
  problem.batch = problem.batch == 0 ? 1 : problem.batch;
  problem.h_q = problem.h_q == 0 ? 1 : problem.h_q;
  problem.topk = problem.topk == 0 ? 1 : problem.topk;
  seesaw_plan* plan = nullptr;
  expect_refusal(status, words, seesaw_sparse_decode_plan_create(&problem, nullptr, &plan));
}

TEST(SparseDecodeProblem, MistakesAreRefused) {
  expect_bad_problem({.batch = -1}, "batch = -1");
  expect_bad_problem({.h_q = -1}, "h_q = -1");
  expect_bad_problem({.h_kv = 2}, "h_kv = 2");
  expect_bad_problem({.topk = -1}, "topk = -1");
  expect_bad_problem({.page_size = -1}, "page_size = -1");
  expect_bad_problem({.extra_topk = -1}, "extra_topk = -1");
  expect_bad_problem({.d_qk = 64, .d_v = 65}, "d_v = 65");
  expect_bad_problem({.kv_format = SEESAW_FORMAT_FP8_584}, "d_qk = 576 with kv_format = fp8_584");
  expect_bad_problem({.kv_format = SEESAW_FORMAT_FP8_656, .kv_columns = 576}, "kv_columns = 576");
  expect_bad_problem(
      {.kv_format = SEESAW_FORMAT_FP8_584, .d_qk = 512, .kv_page_stride = 64 * 584 - 1},
      "kv_page_stride");
  expect_bad_problem({.batch = 1 << 20, .s_q = 1 << 11}, "batch = 1048576, s_q = 2048");
  expect_bad_problem({.s_q = 1 << 20, .h_q = 1 << 11}, "h_q = 2048");
  expect_bad_problem({.topk = INT_MAX, .extra_topk = 1}, "topk = 2147483647 with extra_topk = 1");
  expect_bad_problem({.lse_base = 2}, "lse_base = 2");
  expect_bad_problem({.empty_lse = 2}, "empty_lse = 2");
  expect_bad_problem({.q_dtype = SEESAW_INT32}, "q_dtype = 4", SEESAW_INVALID_TYPE);
  expect_bad_problem({.kv_format = SEESAW_UINT8}, "kv_format = 6", SEESAW_INVALID_TYPE);
}

TEST(SparseDecodeProblem, NothingIsSaidOfAnExtraCacheThatIsNotThere) {
  expect_bad_problem({.extra_page_size = 64}, "extra_page_size = 64 without extra_topk");
  expect_bad_problem({.extra_kv_page_stride = 1}, "extra_kv_page_stride = 1 without extra_topk");
  expect_bad_problem({.extra_kv_token_stride = 1}, "extra_kv_token_stride = 1 without");
  expect_bad_problem({.extra_kv_columns = 1}, "extra_kv_columns = 1 without extra_topk");
  expect_bad_problem({.extra_kv_format = SEESAW_BFLOAT16}, "extra_kv_format = 2 without");
  expect_bad_problem({.extra_topk = 1, .extra_kv_format = SEESAW_FORMAT_FP8_584},
                     "d_qk = 576 with extra_kv_format = fp8_584");
  expect_bad_problem({.extra_topk = 1, .extra_kv_columns = 64}, "kv_columns = 64");
}

TEST(SparseDecodeProblem, IsReadOffTensors) {
  const SparseCase test_case({.batch = 3,
                              .s_q = 2,
                              .h_q = 5,
                              .cache = {.topk = 40, .page_size = 16, .page_gap = 640},
                              .extra = {.format = SEESAW_FLOAT32, .topk = 7, .page_size = 3}});
  seesaw_sparse_decode_args args = test_case.inputs();
  const seesaw_sparse_decode_problem problem = SparseDecode::problem_of(args);
  EXPECT_EQ(problem.q_dtype, SEESAW_BFLOAT16);
  EXPECT_EQ(problem.batch, 3);
  EXPECT_EQ(problem.s_q, 2);
  EXPECT_EQ(problem.h_q, 5);
  EXPECT_EQ(problem.topk, 40);
  EXPECT_EQ(problem.page_size, 16);
  EXPECT_EQ(problem.kv_page_stride, test_case.problem().kv_page_stride);
  EXPECT_EQ(problem.extra_topk, 7);
  EXPECT_EQ(problem.extra_page_size, 3);
  EXPECT_EQ(problem.extra_kv_format, SEESAW_FLOAT32);
  EXPECT_EQ(problem.extra_kv_columns, 576);
  args.extra_indices = {};
  const seesaw_sparse_decode_problem lone = SparseDecode::problem_of(args);
  seesaw_plan* plan = nullptr;
  expect_refusal(SEESAW_INVALID_ARGUMENT, "extra_page_size = 3 without extra_topk",
                 seesaw_sparse_decode_plan_create(&lone, nullptr, &plan));
}

TEST(SparseDecodeProblem, DefaultsAreDeepSeeks) {
  const SparseDecode plan({.batch = 1, .h_q = 16, .topk = 2048, .extra_topk = 4});
  const seesaw_sparse_decode_args none{};
  (void)none;
  EXPECT_STREQ(plan.kernel(), "cpu.sparse_decode");
  std::vector<std::string> kernels;
  for (const KernelSupport& answer : SparseDecode::supports({.batch = 1, .h_q = 1, .topk = 1})) {
    kernels.push_back(answer.kernel);
  }
  EXPECT_EQ(kernels.back(), "reference.sparse_decode");
}

// A call of a case, its outputs filled with a byte that nobody writes.
class SparseDecodeCalls : public ::testing::TestWithParam<const char*> {
 protected:
  using Break = std::function<void(SparseCase&, seesaw_sparse_decode_args&)>;

  // A call of `spec` that is wrong in one thing: refused, and nothing written.
  void expect_refused(const SparseSpec& spec, const char* words, const Break& break_it,
                      seesaw_status status = SEESAW_INVALID_ARGUMENT,
                      int32_t check_data = 0) const {
    SparseCase on(spec);
    seesaw_options options = on.options(GetParam(), 2);
    options.check_data = check_data;
    const SparseDecode plan(on.problem(), options);
    std::vector<unsigned char> out(on.out_bytes(), 0xA5);
    std::vector<unsigned char> lse(on.numbers_bytes(), 0xA5);
    const AlignedBuffer schedule(plan.schedule_bytes());
    const AlignedBuffer workspace(plan.workspace_bytes());
    const seesaw_call call{.schedule = schedule.data(),
                           .schedule_bytes = schedule.size(),
                           .workspace = workspace.data(),
                           .workspace_bytes = workspace.size()};
    seesaw_sparse_decode_args args = on.inputs();
    args.out = on.out_tensor(out.data());
    args.lse = on.numbers_tensor(lse.data());
    plan.prepare(args, call);
    break_it(on, args);
    expect_refusal(status, words, seesaw_sparse_decode_run(plan.get(), &args, &call));
    const auto untouched = [](unsigned char byte) { return byte == 0xA5; };
    EXPECT_TRUE(std::all_of(out.begin(), out.end(), untouched));
    EXPECT_TRUE(std::all_of(lse.begin(), lse.end(), untouched));
  }
};
INSTANTIATE_TEST_SUITE_P(Kernels, SparseDecodeCalls,
                         ::testing::Values("cpu.sparse_decode", "reference.sparse_decode"));

TEST_P(SparseDecodeCalls, ShapesAndDtypesMustFit) {
  const SparseSpec spec{.batch = 3, .s_q = 2, .h_q = 4};
  expect_refused(spec, "q has shape", [](auto&, auto& args) { args.q.shape[2] = 3; });
  expect_refused(spec, "q has shape", [](auto&, auto& args) { args.q.shape[0] = 2; });
  expect_refused(spec, "indices has shape", [](auto&, auto& args) { args.indices.shape[2] = 39; });
  expect_refused(spec, "b = indices.shape[0] = 4",
                 [](auto&, auto& args) { args.indices.shape[0] = 4; });
  expect_refused(spec, "indices has rank 2", [](auto&, auto& args) { args.indices.rank = 2; });
  expect_refused(
      spec, "indices has dtype int64", [](auto&, auto& args) { args.indices.dtype = SEESAW_INT64; },
      SEESAW_INVALID_TYPE);
  expect_refused(
      spec, "kv_cache has dtype float16",
      [](auto&, auto& args) { args.kv_cache.dtype = SEESAW_FLOAT16; }, SEESAW_INVALID_TYPE);
  expect_refused(spec, "indices has stride 2",
                 [](auto&, auto& args) { args.indices.stride[2] = 2; });
  expect_refused(spec, "kv_cache has stride", [](auto&, auto& args) { ++args.kv_cache.stride[0]; });
  expect_refused(spec, "lse has stride", [](auto&, auto& args) { args.lse.stride[0] = 1; });
  expect_refused(spec, "scale = nan", [](auto&, auto& args) { args.scale = NAN; });
  expect_refused(spec, "kv_cache has data = NULL",
                 [](auto&, auto& args) { args.kv_cache.data = nullptr; });
  float sinks[3] = {};
  expect_refused(spec, "sinks has shape [3]",
                 [&](auto&, auto& args) { args.sinks = make_tensor(sinks, SEESAW_FLOAT32, {3}); });
  expect_refused(spec, "sinks has stride 0", [&](auto&, auto& args) {
    args.sinks = make_tensor(sinks, SEESAW_FLOAT32, {4});
    args.sinks.stride[0] = 0;
  });
  int32_t lengths[2] = {};
  expect_refused(spec, "topk_length has shape [2]", [&](auto&, auto& args) {
    args.topk_length = make_tensor(lengths, SEESAW_INT32, {2});
  });
  float scales[2] = {1, 1};
  expect_refused(spec, "kv_scale has shape [2]", [&](auto&, auto& args) {
    args.kv_scale = make_tensor(scales, SEESAW_FLOAT32, {2});
  });
  expect_refused(spec, "max_logits has rank 2", [&](auto&, auto& args) {
    args.max_logits = make_tensor(scales, SEESAW_FLOAT32, {1, 2});
  });
}

TEST_P(SparseDecodeCalls, TheExtraCacheIsTherePlannedOrNotAtAll) {
  const SparseSpec with{.h_q = 2, .extra = {.topk = 8}};
  expect_refused(with, "extra_kv_cache not given with extra_topk = 8",
                 [](auto&, auto& args) { args.extra_kv_cache = {}; });
  expect_refused(with, "extra_indices not given with extra_topk = 8",
                 [](auto&, auto& args) { args.extra_indices = {}; });
  expect_refused(with, "extra_kv_cache has data = NULL",
                 [](auto&, auto& args) { args.extra_kv_cache.data = nullptr; });
  expect_refused(with, "extra_indices has data = NULL",
                 [](auto&, auto& args) { args.extra_indices.data = nullptr; });
  expect_refused(with, "extra_indices has shape",
                 [](auto&, auto& args) { args.extra_indices.shape[2] = 7; });
  int32_t lengths[2] = {};
  float scale = 1;
  expect_refused({.h_q = 2}, "extra_topk_length with extra_topk = 0", [&](auto&, auto& args) {
    args.extra_topk_length = make_tensor(lengths, SEESAW_INT32, {2});
  });
  expect_refused({.h_q = 2}, "extra_kv_scale with extra_topk = 0", [&](auto&, auto& args) {
    args.extra_kv_scale = make_tensor(&scale, SEESAW_FLOAT32, {1});
  });
}

TEST_P(SparseDecodeCalls, CheckDataNamesTheFirstDoubtfulEntry) {
  const auto refused = [&](const SparseSpec& spec, const char* words, const Break& break_it) {
    expect_refused(spec, words, break_it, SEESAW_INVALID_ARGUMENT, 1);
  };
  const SparseSpec spec{.batch = 3,
                        .s_q = 2,
                        .h_q = 2,
                        .cache = {.topk = 20, .page_size = 16, .pages = 4, .lengths = {20, 5, 0}},
                        .extra = {.topk = 8, .page_size = 4, .pages = 3, .lengths = {8, 8, 8}}};
  refused(spec, "indices[1, 0, 3] = 64", [](auto& on, auto&) { on.set_slot(0, 1, 0, 3, 64); });
  refused(spec, "indices[0, 1, 19] = -2", [](auto& on, auto&) { on.set_slot(0, 0, 1, 19, -2); });
  refused(spec, "extra_indices[2, 1, 7] = 12",
          [](auto& on, auto&) { on.set_slot(1, 2, 1, 7, 12); });
}

}  // namespace
}  // namespace seesaw::testing
