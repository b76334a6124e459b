// Every refusal of a call: its status, a message in four parts, and that nothing is written.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "baselines/refusals.hpp"

namespace seesaw::testing {
namespace {

// A call that would run, to be spoilt in one place.
class Call : public ::testing::Test {
 public:
  Call() {
    weights.assign(4, make_tensor(numbers.data(), SEESAW_FLOAT32, {8, 8}));
    args.struct_size = sizeof(args);
    args.x = make_tensor(numbers.data(), SEESAW_FLOAT32, {2, 3, 8});
    args.weights = weights.data();
    args.num_weights = weights.size();
    args.cache = make_tensor(cache.data(), SEESAW_FLOAT32, {2, 5, 16});
    args.out = make_tensor(out.data(), SEESAW_FLOAT32, {2, 3, 8});
    args.workspace = workspace.data();
    args.workspace_bytes = workspace.size();
  }

  static Baseline make_plan() {
    BaselineDescriptor d{.batch = 2, .tokens = 3};
    d.d_model = 8;
    d.num_heads = 2;
    d.cache_capacity = 5;
    return Baseline(d);
  }

  seesaw_status run() const { return seesaw_baselines_run(plan.get(), &args); }

  Baseline plan = make_plan();
  std::vector<float> numbers = std::vector<float>(256, 0.1F);
  std::vector<float> cache = std::vector<float>(160);
  std::vector<float> out = std::vector<float>(48);
  AlignedBuffer workspace{plan.workspace_bytes()};
  std::vector<seesaw_tensor> weights;
  seesaw_baselines_args args{};
};

TEST_F(Call, RunsAsItIs) { EXPECT_EQ(run(), SEESAW_OK) << seesaw_baselines_last_error(); }

TEST_F(Call, EveryRefusal) {
  const std::vector<uint8_t> mask(1000, 1);
  const std::vector<int32_t> positions(8, 0);
  const auto with_mask = [&](std::initializer_list<int64_t> shape) {
    seesaw_tensor tensor = make_tensor(mask.data(), SEESAW_FLOAT32, shape);
    tensor.dtype = SEESAW_BASELINE_UINT8;
    return tensor;
  };
  using Change = std::function<void(Call&)>;
  const std::vector<std::pair<std::string, Change>> cases = {
      {"past_tokens = 3", [](Call& c) { c.args.past_tokens = 3; }},
      {"past_tokens = -1", [](Call& c) { c.args.past_tokens = -1; }},
      {"x has shape [2, 4, 8]", [](Call& c) { c.args.x.shape[1] = 4; }},
      {"x has rank 2", [](Call& c) { c.args.x.rank = 2; }},
      {"x has dtype bfloat16", [](Call& c) { c.args.x.dtype = SEESAW_BFLOAT16; }},
      {"x is on cuda:0",
       [](Call& c) {
         c.args.x.device = {SEESAW_CUDA, 0};
       }},
      {"x has stride 9 in dimension 1", [](Call& c) { c.args.x.stride[1] = 9; }},
      {"out has data = NULL", [](Call& c) { c.args.out.data = nullptr; }},
      {"num_weights = 3", [](Call& c) { c.args.num_weights = 3; }},
      {"weights = NULL", [](Call& c) { c.args.weights = nullptr; }},
      {"k_proj.weight has shape [8, 4]", [](Call& c) { c.weights[1].shape[1] = 4; }},
      {"cache has shape [2, 4, 16]", [](Call& c) { c.args.cache.shape[1] = 4; }},
      {"cache has rank 0", [](Call& c) { c.args.cache = {}; }},
      {"mask has rank 2",
       [&](Call& c) {
         c.args.mask = with_mask({3, 3});
       }},
      {"mask has shape [1, 1, 3, 5]",
       [&](Call& c) {
         c.args.mask = with_mask({1, 1, 3, 5});
       }},
      {"mask has dtype float32",
       [&](Call& c) {
         c.args.mask = make_tensor(mask.data(), SEESAW_FLOAT32, {1, 1, 3, 3});
       }},
      {"mask has stride -1",
       [&](Call& c) {
         c.args.mask = with_mask({1, 1, 3, 3});
         c.args.mask.stride[3] = -1;
       }},
      {"positions has shape [2, 2]",
       [&](Call& c) {
         c.args.positions = make_tensor(positions.data(), SEESAW_INT32, {2, 2});
       }},
      {"x is at address", [](Call& c) { c.args.x.data = static_cast<char*>(c.args.x.data) + 2; }},
      {"v_proj.weight is at address",
       [](Call& c) { c.weights[2].data = static_cast<char*>(c.weights[2].data) + 1; }},
      {"cache is at address",
       [](Call& c) { c.args.cache.data = static_cast<char*>(c.args.cache.data) + 3; }},
      {"mask has shape [3, 1, 3, 3]",
       [&](Call& c) {
         c.args.mask = with_mask({3, 1, 3, 3});
       }},
      {"mask has shape [1, 3, 3, 3]",
       [&](Call& c) {
         c.args.mask = with_mask({1, 3, 3, 3});
       }},
      {"mask is on cuda:1",
       [&](Call& c) {
         c.args.mask = with_mask({1, 1, 3, 3});
         c.args.mask.device = {SEESAW_CUDA, 1};
       }},
      {"mask has stride 4611686018427387904 in dimension 2",
       [&](Call& c) {
         c.args.mask = with_mask({1, 1, 3, 3});
         c.args.mask.stride[2] = int64_t{1} << 62;
       }},
      {"positions has stride -2 in dimension 0",
       [&](Call& c) {
         c.args.positions = make_tensor(positions.data(), SEESAW_INT32, {2, 3});
         c.args.positions.stride[0] = -2;
       }},
      {"positions has dtype float32",
       [&](Call& c) {
         c.args.positions = make_tensor(positions.data(), SEESAW_FLOAT32, {2, 3});
       }},
      {"positions is on cuda:0",
       [&](Call& c) {
         c.args.positions = make_tensor(positions.data(), SEESAW_INT32, {2, 3}, {SEESAW_CUDA, 0});
       }},
      {"positions is at address",
       [&](Call& c) {
         const auto* odd = reinterpret_cast<const char*>(positions.data()) + 2;
         c.args.positions = make_tensor(odd, SEESAW_INT32, {2, 3});
       }},
      {"seesaw_baselines_args.struct_size = 7", [](Call& c) { c.args.struct_size = 7; }},
      {"workspace = NULL", [](Call& c) { c.args.workspace = nullptr; }},
      {"workspace_bytes = ", [](Call& c) { c.args.workspace_bytes -= 1; }},
      {"workspace at address",
       [](Call& c) { c.args.workspace = static_cast<char*>(c.args.workspace) + 8; }},
  };
  for (const auto& [words, change] : cases) {
    const seesaw_baselines_args before = args;
    const std::vector<seesaw_tensor> weights_before = weights;
    std::fill(out.begin(), out.end(), 7.0F);
    change(*this);
    expect_refused(kind_of(words), words, run());
    EXPECT_EQ(out, std::vector<float>(48, 7.0F)) << words;
    args = before;
    weights = weights_before;
  }
}

// An older caller's arguments end before the stream.
TEST_F(Call, RunsWithOlderArguments) {
  args.struct_size = offsetof(seesaw_baselines_args, stream);
  args.stream = this;
  EXPECT_EQ(run(), SEESAW_OK) << seesaw_baselines_last_error();
  args.struct_size = offsetof(seesaw_baselines_args, workspace);
  expect_refused(SEESAW_INVALID_ARGUMENT, "workspace = NULL", run());
}

// All heads of traditional MLA share one attention pattern, and so one mask.
TEST(CallOfTraditionalMla, RefusesAMaskOfEachHead) {
  for (const auto model : {SEESAW_BASELINE_TRADITIONAL_MLA, SEESAW_BASELINE_CHUNKED_MLA}) {
    BaselineDescriptor d{.model = model, .tokens = 3};
    d.d_model = 8;
    d.num_heads = 2;
    const Baseline plan(d);
    const AlignedBuffer workspace(plan.workspace_bytes());
    const std::vector<float> numbers(256, 0.1F);
    std::vector<float> out(24, 7.0F);
    const std::vector<uint8_t> mask(18, 1);
    BaselineTensors call{.x = make_tensor(numbers.data(), SEESAW_FLOAT32, {1, 3, 8})};
    for (const seesaw_baseline_parameter& p : parameters(d)) {
      call.weights.push_back(make_tensor(numbers.data(), SEESAW_FLOAT32, {p.shape[0], p.shape[1]}));
    }
    call.out = make_tensor(out.data(), SEESAW_FLOAT32, {1, 3, 8});
    call.workspace = workspace.data();
    call.workspace_bytes = workspace.size();
    call.mask = make_tensor(mask.data(), SEESAW_FLOAT32, {1, 2, 3, 3});
    call.mask.dtype = SEESAW_BASELINE_UINT8;
    EXPECT_THROW(plan.run(call), Error);
    const std::string message = seesaw_baselines_last_error();
    EXPECT_TRUE(has_four_parts(message));
    EXPECT_NE(message.find("mask has shape [1, 2, 3, 3], allowed: [1 or 1, 1, 3, 3]"),
              std::string::npos)
        << message;
    EXPECT_EQ(out, std::vector<float>(24, 7.0F));
    call.mask.shape[1] = 1;
    EXPECT_NO_THROW(plan.run(call));
  }
}

TEST_F(Call, ACacheThatWasNotPlanned) {
  BaselineDescriptor d{.batch = 2, .tokens = 3};
  d.d_model = 8;
  d.num_heads = 2;
  plan = Baseline(d);
  expect_refused(SEESAW_INVALID_ARGUMENT, "a cache, where cache_capacity = 0 was planned", run());
}

}  // namespace
}  // namespace seesaw::testing
