// The library's smaller kernels: merge_states and the checks of SEESAW_CHECK. The planner and the
// combine alone are tests/gpu's (gpu_tests_main.cpp).
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "any_conditions.hpp"
#include "gpu/check_data.hpp"
#include "gpu/device.hpp"
#include "gpu/ptx/convert.cuh"
#include "ops/merge_states/gpu/merge.hpp"
#include "split/split_kv.hpp"
#include "support/guarded_buffer.hpp"
#include "support/merge_case.hpp"

namespace seesaw::emulator {
namespace {

class Kernels : public UnderAnyConditions {};
INSTANTIATE_TEST_SUITE_P(Emulated, Kernels,
                         ::testing::Values(Conditions{.order = Order::kForward},
                                           Conditions{.order = Order::kBackward}),
                         kNameOfConditions);

// ---- the driver

// A process of its own runs this with SEESAW_EMULATOR_LATE_DRIVER: nobody has asked before.
TEST(LateDriver, IsAskedAgain) {
  if (std::getenv("SEESAW_EMULATOR_LATE_DRIVER") == nullptr) {
    GTEST_SKIP() << "SEESAW_EMULATOR_LATE_DRIVER is not set";
  }
  EXPECT_EQ(gpu::driver(), nullptr);
  EXPECT_NE(gpu::driver(), nullptr);
}

// ---- conversions

// As devices before sm_89 compute it: any four bytes beside each other.
TEST(Conversions, UnpacksEveryE4m3) {
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const uint32_t others = 0x017F80U + (byte << 24);  // 2^-9, NaN and -0 beside it
    for (int place = 0; place < 4; ++place) {
      const uint32_t word = std::rotl(others & 0xFFFFFF00U, 8 * place) | byte << (8 * place);
      const float4 values = ptx::unpack_e4m3(word);
      const float all[] = {values.x, values.y, values.z, values.w};
      for (int i = 0; i < 4; ++i) {
        const float wanted = from_e4m3(static_cast<uint8_t>(word >> (8 * i)));
        if (std::isnan(wanted)) {
          EXPECT_TRUE(std::isnan(all[i])) << std::hex << word << ", byte " << i;
        } else {
          EXPECT_EQ(std::bit_cast<uint32_t>(all[i]), std::bit_cast<uint32_t>(wanted))
              << std::hex << word << ", byte " << i;
        }
      }
    }
  }
}

// ---- merge_states

std::string merged(const testing::MergeSpec& spec) {
  constexpr seesaw_device kDevice{SEESAW_CUDA, 0};
  testing::MergeCase test_case(spec);
  std::vector<seesaw_tensor> outs, lses;
  for (size_t i = 0; i < test_case.outs.size(); ++i) {
    outs.push_back(test_case.out_tensor(test_case.outs[i].data(), kDevice));
    lses.push_back(test_case.lse_tensor(test_case.lses[i].data(), kDevice));
  }
  merge_states::Args args{};
  args.outs = outs.data();
  args.lses = lses.data();
  args.out = test_case.out_tensor(test_case.out.data(), kDevice);
  args.lse = test_case.lse_tensor(test_case.lse.data(), kDevice);
  merge_states::MergePlan plan;
  static_cast<seesaw_merge_states_problem&>(plan.problem) = test_case.problem();
  plan.options.device = kDevice;
  const Status status = merge_states::gpu::run(plan, args, Call{});
  const cudaError_t error = cudaStreamSynchronize(nullptr);
  if (!status.ok()) return status.message();
  return error == cudaSuccess ? test_case.compare() : cudaGetErrorString(error);
}

TEST_P(Kernels, MergeStates) {
  for (const seesaw_dtype dtype : {SEESAW_BFLOAT16, SEESAW_FLOAT16, SEESAW_FLOAT32}) {
    EXPECT_EQ(merged({.parts = 3, .dtype = dtype}), "");
    EXPECT_EQ(merged({.parts = 33, .b = 2, .d_v = 257, .dtype = dtype, .gap = 3}), "");
  }
  EXPECT_EQ(merged({.parts = 64, .s = 3, .h = 5, .d_v = 7, .lse_base = SEESAW_LSE_BASE2}), "");
}

// ---- checks

// A call whose lengths, table and schedule are right.
struct CheckedCall {
  static constexpr int32_t kBatch = 40;
  static constexpr int64_t kPages = 5;  // of a sequence, at most

  CheckedCall() : schedule(split::schedule_bytes(config)), scratch(gpu::check_bytes(config)) {
    for (int32_t i = 0; i < kBatch; ++i) lengths[i] = i * 37 % (64 * kPages + 1);
    for (int32_t i = 0; i < kBatch * kPages; ++i) table[i] = i;
    split::build_schedule(config, split::lengths_of(lengths, 1, 64 * kPages), kBatch,
                          schedule.data());
  }

  std::string check() {
    const Status pages = gpu::check_block_table(
        {.lengths = {.seq_lens = lengths, .batch = kBatch, .max_pages = kPages, .page_size = 64},
         .ids = table,
         .stride = kPages,
         .num_pages = kBatch * kPages},
        scratch.data(), nullptr);
    if (!pages.ok()) {
      return pages.message();
    }
    return gpu::check_schedule({.config = config,
                                .lengths = split::lengths_of(lengths, 1, 64 * kPages),
                                .batch = kBatch,
                                .schedule = schedule.data()},
                               scratch.data(), nullptr)
        .message();
  }

  split::SplitConfig config = {.max_batch = kBatch, .num_workers = 7, .max_sequence_tiles = kPages};
  int32_t lengths[kBatch];
  int32_t table[kBatch * kPages];
  testing::GuardedBuffer schedule;
  testing::GuardedBuffer scratch;
};

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_P(Kernels, ChecksFindTheFirstOffender) {
  CheckedCall call;
  EXPECT_EQ(call.check(), "");
  call.table[12 * CheckedCall::kPages + 1] = -1;  // lengths[12] = 123: its second page
  call.table[13 * CheckedCall::kPages] = 4711;
  EXPECT_TRUE(holds(call.check(), "block_table[12, 1] = -1")) << call.check();
  call.lengths[30] = -5;
  call.lengths[39] = 64 * 5 + 1;
  EXPECT_TRUE(holds(call.check(), "seq_lens[30] = -5")) << call.check();
}

TEST_P(Kernels, ChecksFindAScheduleOfOtherLengths) {
  CheckedCall call;
  call.lengths[20] -= 64;
  EXPECT_TRUE(holds(call.check(), "of the schedule")) << call.check();
  EXPECT_TRUE(call.scratch.intact());
}

}  // namespace
}  // namespace seesaw::emulator
