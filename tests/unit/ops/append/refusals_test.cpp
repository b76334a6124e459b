// What append refuses, and that nothing has been written when it does.
#include <gtest/gtest.h>

#include <functional>

#include "support/append_case.hpp"
#include "unit/engine/expect_error.hpp"

namespace seesaw::testing {
namespace {

void expect_bad_problem(const seesaw_append_problem& problem, const char* words) {
  seesaw_plan* plan = nullptr;
  expect_refusal(SEESAW_INVALID_ARGUMENT, words,
                 seesaw_append_plan_create(&problem, nullptr, &plan));
}

TEST(AppendRefusals, ProblemsThatDoNotFitTogether) {
  expect_bad_problem({.kv_format = SEESAW_FORMAT_FP8_656, .d_latent = 500},
                     "d_latent = 500, d_rope = 64 with format fp8_656");
  expect_bad_problem({.kv_format = SEESAW_FORMAT_FP8_656, .d_rope = -1},
                     "d_latent = 512, d_rope = 0 with format fp8_656");
  expect_bad_problem({.d_rope = 63, .rotary = SEESAW_ROTARY_INTERLEAVED},
                     "d_rope = 63 with rotary embedding");
  expect_bad_problem({.kv_format = SEESAW_FORMAT_INDEXER_132, .rotary = SEESAW_ROTARY_HALF_SPLIT},
                     "d_rope = 0 with rotary embedding");
  expect_bad_problem({.kv_format = SEESAW_FORMAT_FP8_576, .scales = SEESAW_SCALES_GIVEN},
                     "scales = given with format fp8_576");
  expect_bad_problem({.d_rope = 1 << 16, .h_q = 1 << 20}, "h_q * d_rope = 68719476736");
  expect_bad_problem({.d_rope = 64, .kv_columns = 600}, "kv_columns = 600");
  expect_bad_problem({.d_rope = -2}, "d_rope = -2");
}

TEST(AppendRefusals, DefaultsAreTheFormats) {
  const auto columns = [](seesaw_append_problem problem) {
    return Append(problem).details().kernel;
  };
  for (const int32_t format : kAllFormats) {
    EXPECT_STREQ(columns({.kv_format = format, .tokens = 1}), "cpu.append");
  }
}

TEST(AppendRefusals, ProblemsAreReadOffTensors) {
  for (const int64_t d_rope : {-1, 64}) {
    AppendCase on({.format = SEESAW_FLOAT32, .d_latent = 128, .d_rope = d_rope, .token_gap = 2});
    const Append plan(Append::problem_of(on.args()));
    plan.run(on.args(), {});
    EXPECT_EQ(on.changed_elsewhere(), "");
  }
}

class AppendCalls : public ::testing::TestWithParam<const char*> {
 protected:
  using Break = std::function<void(AppendCase&, seesaw_append_args&)>;

  // A call of `spec` that is wrong in one thing: refused, and nothing written.
  void expect_refused(const AppendSpec& spec, const char* words, const Break& break_it,
                      seesaw_status status = SEESAW_INVALID_ARGUMENT) const {
    AppendCase on(spec);
    const Append plan(on.problem(), {.kernel = GetParam()});
    seesaw_append_args args = on.args();
    break_it(on, args);
    const AppendCase before = on;
    const seesaw_call call{};
    expect_refusal(status, words, seesaw_append_run(plan.get(), &args, &call));
    EXPECT_EQ(on.differs_from(before), "");
  }
};
INSTANTIATE_TEST_SUITE_P(Kernels, AppendCalls, ::testing::Values("cpu.append", "reference.append"));

TEST_P(AppendCalls, BadNumbersAreRefusedBeforeAnythingIsWritten) {
  const AppendSpec spec = {.format = SEESAW_FORMAT_FP8_656,
                           .scales = SEESAW_SCALES_GIVEN,
                           .rotary = SEESAW_ROTARY_INTERLEAVED};
  expect_refused(spec, "slot_mapping[9] = 192", [](AppendCase& on, seesaw_append_args&) {
    on.as<int64_t>(Buffer::kSlots)[9] = on.num_slots();
  });
  for (const int64_t position : {int64_t{-1}, AppendCase::kPositions}) {
    expect_refused(spec, "positions[12] = ", [&](AppendCase& on, seesaw_append_args&) {
      on.as<int64_t>(Buffer::kPositions)[12] = position;
    });
  }
  for (const float scale : {0.0F, -1.0F, std::numeric_limits<float>::infinity(),
                            std::numeric_limits<float>::quiet_NaN()}) {
    expect_refused(spec, "scales[8, 3] = ", [&](AppendCase& on, seesaw_append_args&) {
      on.as<float>(Buffer::kScales)[8 * 4 + 3] = scale;
    });
    expect_refused({.format = SEESAW_FORMAT_FP8_576},
                   "kv_scale = ", [&](AppendCase& on, seesaw_append_args&) {
                     *on.as<float>(Buffer::kKvScale) = scale;
                   });
  }
}

TEST_P(AppendCalls, TensorsHaveToFitTheChoices) {
  const AppendSpec spec = {.format = SEESAW_FORMAT_FP8_656,
                           .scales = SEESAW_SCALES_GIVEN,
                           .rotary = SEESAW_ROTARY_INTERLEAVED};
  using Args = seesaw_append_args;
  expect_refused(spec, "k_rope = NULL", [](AppendCase&, Args& args) { args.k_rope = {}; });
  expect_refused(spec, "positions = NULL", [](AppendCase&, Args& args) { args.positions = {}; });
  expect_refused(spec, "cos_sin = NULL", [](AppendCase&, Args& args) { args.cos_sin = {}; });
  expect_refused(spec, "scales = NULL", [](AppendCase&, Args& args) { args.scales = {}; });
  expect_refused(spec, "scales.shape[1] = 3",
                 [](AppendCase&, Args& args) { args.scales.shape[1] = 3; });
  const AppendSpec plain = {};
  expect_refused(plain, "q_rope given", [](AppendCase& on, Args& args) {
    args.q_rope = make_tensor(on.bytes(Buffer::kQRope).data(), SEESAW_BFLOAT16, {13, 3, 64});
  });
  expect_refused(plain, "scales given", [](AppendCase& on, Args& args) {
    args.scales = make_tensor(on.bytes(Buffer::kCKv).data(), SEESAW_FLOAT32, {13, 1});
  });
  expect_refused(plain, "saturated has shape [2]",
                 [](AppendCase&, Args& args) { args.saturated.shape[0] = 2; });
  expect_refused(plain, "t = c_kv.shape[0] = 14",
                 [](AppendCase&, Args& args) { args.c_kv.shape[0] = 14; });
  expect_refused(plain, "kv_cache has stride 1 in dimension 2, allowed: 64 or more",
                 [](AppendCase&, Args& args) { args.kv_cache.stride[1] = 1; });
  expect_refused(plain, "kv_cache has stride 36865 in dimension 0, allowed: 36864, as planned",
                 [](AppendCase&, Args& args) { args.kv_cache.stride[0] += 1; });
  expect_refused(
      plain, "kv_cache has dtype float32",
      [](AppendCase&, Args& args) { args.kv_cache.dtype = SEESAW_FLOAT32; }, SEESAW_INVALID_TYPE);
}

}  // namespace
}  // namespace seesaw::testing
