// gpu.append on the emulator: the reference's bytes, in every format, and what SEESAW_CHECK finds.
#include <gtest/gtest.h>

#include "any_conditions.hpp"
#include "ops/append/gpu/append.hpp"
#include "ops/append/gpu/check.hpp"
#include "ops/append/problem.hpp"
#include "support/append_case.hpp"

namespace seesaw::emulator {
namespace {

using testing::AppendCase;
using testing::AppendSpec;
using testing::Buffer;
using testing::kBuffers;

constexpr seesaw_device kDevice{SEESAW_CUDA, 0};

class AppendOnGpu : public UnderAnyConditions {};
INSTANTIATE_TEST_SUITE_P(Emulated, AppendOnGpu,
                         ::testing::Values(Conditions{.order = Order::kForward},
                                           Conditions{.order = Order::kBackward}),
                         kNameOfConditions);

append::AppendPlan planned(const AppendCase& of, bool check = false) {
  append::AppendPlan plan;
  static_cast<seesaw_append_problem&>(plan.problem) = of.problem();
  EXPECT_TRUE(append::complete(&plan.problem).ok());
  plan.options.device = kDevice;
  plan.options.check_data = check;
  return plan;
}

std::string run_on_gpu(AppendCase& on, bool check = false) {
  std::array<void*, kBuffers> data;
  for (size_t i = 0; i < kBuffers; ++i) data[i] = on.bytes(static_cast<Buffer>(i)).data();
  append::gpu::Faults report;
  Call call;
  call.workspace = &report;
  const Status status = append::gpu::run(planned(on, check), on.args(data, kDevice), call);
  if (!status.ok()) return status.message();
  const cudaError_t error = cudaStreamSynchronize(nullptr);
  return error == cudaSuccess ? "" : cudaGetErrorString(error);
}

void run_reference(AppendCase& on) {
  EXPECT_EQ(append::run_reference(planned(on), on.args(), Call{}).message(), "");
}

TEST_P(AppendOnGpu, WritesTheReferencesBytes) {
  for (const AppendSpec& spec : testing::append_grid()) {
    AppendCase gpu(spec);
    AppendCase reference(spec);
    ASSERT_EQ(run_on_gpu(gpu), "") << name_of(spec);
    run_reference(reference);
    ASSERT_EQ(gpu.differs_from(reference), "") << name_of(spec);
    ASSERT_EQ(gpu.changed_elsewhere(), "") << name_of(spec);
  }
}

TEST_P(AppendOnGpu, PlainFormatsOfAnyColumns) {
  for (const int64_t d_latent : {1, 24, 130, 1000}) {
    for (const int64_t d_rope : {-1, 2, 48, 130}) {
      for (const int32_t rotary : {0, 1, 2}) {
        if (rotary != 0 && d_rope < 0) continue;
        const AppendSpec spec = {.tokens = 7,
                                 .format = d_latent == 24 ? SEESAW_FLOAT32 : SEESAW_BFLOAT16,
                                 .d_latent = d_latent,
                                 .d_rope = d_rope,
                                 .rotary = rotary,
                                 .h_q = 17};
        AppendCase gpu(spec);
        AppendCase reference(spec);
        ASSERT_EQ(run_on_gpu(gpu), "");
        run_reference(reference);
        ASSERT_EQ(gpu.differs_from(reference), "") << d_latent << " " << d_rope << " " << rotary;
      }
    }
  }
}

TEST_P(AppendOnGpu, BadNumbersWriteNothingElsewhereAndShow) {
  const AppendSpec spec = {.tokens = 6,
                           .dtype = SEESAW_FLOAT32,
                           .format = SEESAW_FORMAT_FP8_656,
                           .scales = SEESAW_SCALES_GIVEN,
                           .rotary = SEESAW_ROTARY_HALF_SPLIT,
                           .plain_rows = true};
  AppendCase bad(spec);
  bad.as<int64_t>(Buffer::kSlots)[0] = bad.num_slots();
  bad.as<int64_t>(Buffer::kSlots)[2] = INT64_MAX;
  bad.as<float>(Buffer::kScales)[1 * 4 + 2] = -1.0F;
  bad.as<int64_t>(Buffer::kPositions)[3] = AppendCase::kPositions;
  ASSERT_EQ(run_on_gpu(bad), "");
  EXPECT_EQ(bad.changed_elsewhere(), "");
  const std::vector<double> one = bad.record(1);
  EXPECT_TRUE(std::isnan(one[2 * 128]));
  EXPECT_FALSE(std::isnan(one[1 * 128]) || std::isnan(one[3 * 128]));
  const std::vector<double> three = bad.record(3);
  EXPECT_FALSE(std::isnan(three[511]));
  EXPECT_TRUE(std::isnan(three[512]));
  EXPECT_TRUE(std::isnan(bad.get(Buffer::kQRope, 3 * 3, 64, 0)));

  AppendCase scale({.format = SEESAW_FORMAT_FP8_576, .kv_scale = 0.0F});
  ASSERT_EQ(run_on_gpu(scale), "");
  EXPECT_TRUE(std::isnan(scale.record(0)[0]));
}

// What the check says of a case, which it has to leave alone.
template <typename Break>
std::string complaint(const AppendSpec& spec, Break break_it) {
  AppendCase bad(spec);
  EXPECT_EQ(run_on_gpu(bad, true), "");
  AppendCase broken(spec);
  break_it(broken);
  AppendCase before = broken;
  const std::string message = run_on_gpu(broken, true);
  EXPECT_EQ(broken.differs_from(before), "");
  return message;
}

TEST_P(AppendOnGpu, ChecksFindTheFirstOffender) {
  const AppendSpec spec = {.tokens = 300,
                           .format = SEESAW_FORMAT_FP8_656,
                           .scales = SEESAW_SCALES_GIVEN,
                           .rotary = SEESAW_ROTARY_INTERLEAVED};
  const auto slots = [](AppendCase& of) {
    of.as<int64_t>(Buffer::kSlots)[290] = 1 << 20;
    of.as<int64_t>(Buffer::kSlots)[280] = of.num_slots();
  };
  EXPECT_NE(complaint(spec, slots).find("slot_mapping[280] = 448"), std::string::npos);
  const auto positions = [](AppendCase& of) { of.as<int64_t>(Buffer::kPositions)[299] = -1; };
  EXPECT_NE(complaint(spec, positions).find("positions[299] = -1"), std::string::npos);
  const auto scales = [](AppendCase& of) { of.as<float>(Buffer::kScales)[4 * 270 + 3] = 0.0F; };
  EXPECT_NE(complaint(spec, scales).find("scales[270, 3] = 0"), std::string::npos);
  const auto whole = [](AppendCase& of) { *of.as<float>(Buffer::kKvScale) = -2.0F; };
  EXPECT_NE(complaint({.format = SEESAW_FORMAT_FP8_576}, whole).find("kv_scale = -2"),
            std::string::npos);
}

}  // namespace
}  // namespace seesaw::emulator
