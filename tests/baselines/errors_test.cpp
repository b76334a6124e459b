// Every refusal of a problem and its structs: its status, a message in four parts, and that it
// comes before anything runs. Those of a call: call_errors_test.cpp.
#include <gtest/gtest.h>

#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "baselines/refusals.hpp"

namespace seesaw::testing {
namespace {

// Whether bytes [begin, end) of an object are `value`.
bool is_filled(const void* object, size_t begin, size_t end, unsigned char value) {
  const auto* bytes = static_cast<const unsigned char*>(object);
  return std::all_of(bytes + begin, bytes + end, [&](unsigned char b) { return b == value; });
}

TEST(Problem, EveryRefusal) {
  using Change = std::function<void(seesaw_baseline_problem&)>;
  const std::vector<std::pair<std::string, Change>> cases = {
      {"struct_size = 0", [](auto& p) { p.struct_size = 0; }},
      {"model = 6", [](auto& p) { p.model = 6; }},
      {"dtype = 4", [](auto& p) { p.dtype = SEESAW_INT32; }},
      {"device type 3", [](auto& p) { p.device.type = 3; }},
      {"device type 1, index 1", [](auto& p) { p.device.index = 1; }},
      {"flags = 0x8", [](auto& p) { p.flags = 8; }},
      {"batch = 0", [](auto& p) { p.batch = 0; }},
      {"tokens = 0", [](auto& p) { p.tokens = 0; }},
      {"d_model = -1", [](auto& p) { p.d_model = -1; }},
      {"num_heads = 0", [](auto& p) { p.num_heads = 0; }},
      {"num_heads = 3", [](auto& p) { p.num_heads = 3; }},
      {"head_dim = -4", [](auto& p) { p.head_dim = -4; }},
      {"cache_capacity (0: no cache) = 2", [](auto& p) { p.cache_capacity = 2; }},
      {"num_threads = -1", [](auto& p) { p.num_threads = -1; }},
      {"num_threads = 4097", [](auto& p) { p.num_threads = 4097; }},
      {"batch = 1073741825", [](auto& p) { p.batch = (1 << 30) + 1; }},
      {"tokens = 1073741825", [](auto& p) { p.tokens = (1 << 30) + 1; }},
      {"d_model = 1048577", [](auto& p) { p.d_model = (1 << 20) + 1; }},
      {"num_heads = 1048577", [](auto& p) { p.num_heads = (1 << 20) + 1; }},
      {"head_dim = 1048577", [](auto& p) { p.head_dim = (1 << 20) + 1; }},
      {"cache_capacity (0: no cache) = 1073741825",
       [](auto& p) { p.cache_capacity = (1 << 30) + 1; }},
      {"cache_capacity (0: no cache) = -1", [](auto& p) { p.cache_capacity = -1; }},
      {"device type 2, index -1",
       [](auto& p) {
         p.device = {SEESAW_CUDA, -1};
       }},
      {"scale = inf", [](auto& p) { p.scale = HUGE_VALF; }},
      {"scale = nan", [](auto& p) { p.scale = std::nanf(""); }},
      {"x = 72057594037927936 elements or more",
       [](auto& p) {
         p.batch = 1 << 30;
         p.tokens = p.cache_capacity = 1 << 13;
         p.d_model = 1 << 20;
         p.num_heads = p.head_dim = 1;
       }},
      {"elements or more",
       [](auto& p) {
         p.batch = 1 << 30;
         p.tokens = p.cache_capacity = 1 << 30;
       }},
  };
  for (const auto& [words, change] : cases) {
    seesaw_baseline_problem problem = good_problem();
    change(problem);
    seesaw_baselines_plan* plan = nullptr;
    expect_refused(kind_of(words), words, seesaw_baselines_plan_create(&problem, &plan));
    EXPECT_EQ(plan, nullptr);
    uint64_t count = 0;
    EXPECT_EQ(seesaw_baselines_supports(&problem, nullptr, 0, &count), kind_of(words));
    EXPECT_EQ(seesaw_baselines_parameters(&problem, nullptr, 0, &count), kind_of(words));
  }
}

void expect_each_refused(
    seesaw_baseline_model model,
    const std::vector<std::pair<std::string, std::function<void(seesaw_baseline_problem&)>>>&
        cases) {
  for (const auto& [words, change] : cases) {
    seesaw_baseline_problem problem = good_problem(model);
    change(problem);
    seesaw_baselines_plan* plan = nullptr;
    expect_refused(SEESAW_INVALID_ARGUMENT, words, seesaw_baselines_plan_create(&problem, &plan));
    EXPECT_EQ(plan, nullptr);
  }
}

TEST(Problem, EveryRefusalOfTraditionalAndChunkedMla) {
  for (const auto model : {SEESAW_BASELINE_TRADITIONAL_MLA, SEESAW_BASELINE_CHUNKED_MLA}) {
    expect_each_refused(model,
                        {{"d_latent = -1", [](auto& p) { p.d_latent = -1; }},
                         {"d_latent = 1048577", [](auto& p) { p.d_latent = (1 << 20) + 1; }}});
  }
  constexpr int64_t kTooLarge = (int64_t{1} << 40) + 1;
  expect_each_refused(SEESAW_BASELINE_CHUNKED_MLA,
                      {{"chunk_size = -1", [](auto& p) { p.chunk_size = -1; }},
                       {"chunk_size = 1099511627777", [](auto& p) { p.chunk_size = kTooLarge; }},
                       {"tokens = 131073 with chunk_size = 2, 65537 chunks", [](auto& p) {
                          p.tokens = p.cache_capacity = 131073;
                          p.chunk_size = 2;
                        }}});
}

TEST(Problem, EveryRefusalOfDeepSeeks) {
  const auto model = SEESAW_BASELINE_DEEPSEEK_MLA_EXPANDED;
  expect_each_refused(model,
                      {
                          {"d_rope = 3", [](auto& p) { p.d_rope = 3; }},
                          {"d_rope = -2", [](auto& p) { p.d_rope = -2; }},
                          {"d_nope = -1", [](auto& p) { p.d_nope = -1; }},
                          {"d_v = -1", [](auto& p) { p.d_v = -1; }},
                          {"d_q_latent = -1", [](auto& p) { p.d_q_latent = -1; }},
                          {"d_latent = -1", [](auto& p) { p.d_latent = -1; }},
                          {"rope_theta = -5", [](auto& p) { p.rope_theta = -5.0; }},
                          {"norm_epsilon = -1", [](auto& p) { p.norm_epsilon = -1.0F; }},
                          {"rope_theta = inf", [](auto& p) { p.rope_theta = HUGE_VAL; }},
                          {"rope_theta = nan", [](auto& p) { p.rope_theta = std::nan(""); }},
                          {"norm_epsilon = inf", [](auto& p) { p.norm_epsilon = HUGE_VALF; }},
                          {"norm_epsilon = nan", [](auto& p) { p.norm_epsilon = std::nanf(""); }},
                          {"d_nope = 1048577", [](auto& p) { p.d_nope = (1 << 20) + 1; }},
                          {"d_rope = 1048578", [](auto& p) { p.d_rope = (1 << 20) + 2; }},
                          {"d_v = 1048577", [](auto& p) { p.d_v = (1 << 20) + 1; }},
                          {"d_q_latent = 1048577", [](auto& p) { p.d_q_latent = (1 << 20) + 1; }},
                          {"d_latent = 1048577", [](auto& p) { p.d_latent = (1 << 20) + 1; }},
                      });
}

// Equal products of a plan are one: those of 65,536 chunks, twice, would take 1 GiB.
TEST(Problem, AsManyChunksAsAreAllowed) {
  BaselineDescriptor d{.model = SEESAW_BASELINE_CHUNKED_MLA, .tokens = 65536};
  d.d_model = 4;
  d.chunk_size = 1;
  rusage before{};
  rusage after{};
  getrusage(RUSAGE_SELF, &before);
  const Baseline plan(d);
  getrusage(RUSAGE_SELF, &after);
  EXPECT_EQ(plan.info().num_products, 3 + 2 * 65536u);
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 128 << 10);  // KiB
}

// An older caller's struct ends earlier: what it lacks is 0.
TEST(Structs, AnOlderProblemTakesTheDefaults) {
  seesaw_baseline_problem problem = good_problem();
  problem.scale = HUGE_VALF;  // of memory that is no longer the caller's
  problem.flags = 0xFFFFFFFF;
  problem.num_threads = -1;
  problem.struct_size = offsetof(seesaw_baseline_problem, norm_epsilon);
  uint64_t count = 0;
  EXPECT_EQ(seesaw_baselines_parameters(&problem, nullptr, 0, &count), SEESAW_OK);
  EXPECT_EQ(count, 4u);
  problem.struct_size = offsetof(seesaw_baseline_problem, flags);
  expect_refused(SEESAW_INVALID_ARGUMENT, "scale = inf",
                 seesaw_baselines_parameters(&problem, nullptr, 0, &count));
}

// What a shorter struct does not hold is not written.
TEST(Structs, ShorterResultsAreFilledAsFarAsTheyGo) {
  const seesaw_baseline_problem problem = good_problem();
  seesaw_baseline_cost cost;
  std::memset(&cost, 0x5A, sizeof(cost));
  cost.struct_size = offsetof(seesaw_baseline_cost, projection_bytes);
  ASSERT_EQ(seesaw_baselines_cost(&problem, 0, &cost), SEESAW_OK);
  EXPECT_EQ(cost.struct_size, offsetof(seesaw_baseline_cost, projection_bytes));
  EXPECT_EQ(cost.projection_operations, 4 * 2.0 * 6 * 8 * 8);
  EXPECT_TRUE(is_filled(&cost, cost.struct_size, sizeof(cost), 0x5A));

  seesaw_baselines_plan* plan = nullptr;
  ASSERT_EQ(seesaw_baselines_plan_create(&problem, &plan), SEESAW_OK);
  seesaw_baselines_plan_info info;
  std::memset(&info, 0x5A, sizeof(info));
  info.struct_size = offsetof(seesaw_baselines_plan_info, cache_width);
  EXPECT_EQ(seesaw_baselines_plan_get_info(plan, &info), SEESAW_OK);
  EXPECT_EQ(info.num_parameters, 4u);
  EXPECT_TRUE(is_filled(&info, info.struct_size, sizeof(info), 0x5A));
  info.struct_size = 0;
  expect_refused(SEESAW_INVALID_ARGUMENT, "seesaw_baselines_plan_info.struct_size = 0",
                 seesaw_baselines_plan_get_info(plan, &info));
  seesaw_baselines_plan_destroy(plan);
}

TEST(Problem, ANewerStructIsReadIfItsNewFieldsAreZero) {
  struct Newer {
    seesaw_baseline_problem problem;
    uint64_t later;
  } newer{good_problem(), 0};
  newer.problem.struct_size = sizeof(newer);
  uint64_t count = 0;
  EXPECT_EQ(seesaw_baselines_parameters(&newer.problem, nullptr, 0, &count), SEESAW_OK);
  EXPECT_EQ(count, 4u);
  newer.later = 1;
  expect_refused(SEESAW_NOT_SUPPORTED, "fields of a newer version",
                 seesaw_baselines_parameters(&newer.problem, nullptr, 0, &count));
}

TEST(Problem, NullPointers) {
  const seesaw_baseline_problem problem = good_problem();
  expect_refused(SEESAW_INVALID_ARGUMENT, "plan = NULL",
                 seesaw_baselines_plan_create(&problem, nullptr));
  expect_refused(SEESAW_INVALID_ARGUMENT, "count = NULL",
                 seesaw_baselines_supports(&problem, nullptr, 0, nullptr));
  expect_refused(SEESAW_INVALID_ARGUMENT, "seesaw_baseline_problem = NULL",
                 seesaw_baselines_cost(nullptr, 0, nullptr));
  expect_refused(SEESAW_INVALID_ARGUMENT, "past_tokens = 3",
                 seesaw_baselines_cost(&problem, 3, nullptr));
  expect_refused(SEESAW_INVALID_ARGUMENT, "plan = NULL", seesaw_baselines_run(nullptr, nullptr));
  seesaw_baselines_plan_destroy(nullptr);
}

TEST(Supports, EveryBackendSaysYesOrWhyNot) {
  const auto on_cpu = supports(BaselineDescriptor{.d_model = 4});
  ASSERT_EQ(on_cpu.size(), 2u);
  EXPECT_EQ(on_cpu[0].kernel, "cpu.onednn");
  EXPECT_EQ(on_cpu[1].kernel, "cuda.cublaslt");
  EXPECT_FALSE(on_cpu[1].supported);
  for (const KernelSupport& answer : on_cpu) {
    EXPECT_EQ(answer.supported, answer.reason.empty());
  }
  EXPECT_FALSE(supports(BaselineDescriptor{.device = {SEESAW_CUDA, 0}, .d_model = 4})[0].supported);
}

}  // namespace
}  // namespace seesaw::testing
