// gpu.merge_states against its definition: the cases of tests/support/merge_case.hpp on the device.
#include <gtest/gtest.h>

#include <numeric>

#include "lab/device/device_memory.hpp"
#include "support/merge_case.hpp"

namespace seesaw::gpu_test {
namespace {

using lab::DeviceBuffer;
using lab::must;

using testing::LseOrder;
using testing::MergeCase;
using testing::MergeSpec;

constexpr seesaw_device kDevice{SEESAW_CUDA, 0};

// A case's tensors on the device.
class DeviceMerge {
 public:
  explicit DeviceMerge(MergeCase& the_case) : case_(the_case) {
    for (size_t i = 0; i < the_case.outs.size(); ++i) {
      outs_.push_back(the_case.out_tensor(
          bring(the_case.outs[i].data(), the_case.outs[i].size_bytes()), kDevice));
      lses_.push_back(the_case.lse_tensor(
          bring(the_case.lses[i].data(), the_case.lses[i].size() * sizeof(float)), kDevice));
    }
    args.outs = outs_.data();
    args.lses = lses_.data();
    args.out = the_case.out_tensor(bring(the_case.out.data(), the_case.out.size_bytes()), kDevice);
    args.lse = the_case.lse_tensor(bring(the_case.lse.data(), the_case.lse.size() * sizeof(float)),
                                   kDevice);
  }

  void run() {
    const MergeStates plan(case_.problem(), {.device = kDevice});
    EXPECT_STREQ(plan.kernel(), "gpu.merge_states");
    plan.run(args, {});
    must(
        cudaMemcpy(case_.out.data(), args.out.data, case_.out.size_bytes(), cudaMemcpyDeviceToHost),
        "cudaMemcpy");
    must(cudaMemcpy(case_.lse.data(), args.lse.data, case_.lse.size() * sizeof(float),
                    cudaMemcpyDeviceToHost),
         "cudaMemcpy");
  }

  seesaw_tensor& out(size_t part) { return outs_[part]; }
  seesaw_tensor& lse(size_t part) { return lses_[part]; }
  seesaw_merge_states_args args;

 private:
  void* bring(const void* host, size_t bytes) {
    memory_.emplace_back(std::max<size_t>(bytes, 1));
    must(cudaMemcpy(memory_.back().as<void>(), host, bytes, cudaMemcpyHostToDevice), "cudaMemcpy");
    return memory_.back().as<void>();
  }

  MergeCase& case_;
  std::vector<DeviceBuffer> memory_;
  std::vector<seesaw_tensor> outs_;
  std::vector<seesaw_tensor> lses_;
};

void expect_merged(const MergeSpec& spec) {
  MergeCase the_case(spec);
  DeviceMerge(the_case).run();
  EXPECT_EQ(the_case.compare(), "");
}

TEST(Quick, MergeStatesOfEveryShapeDtypeBaseAndLayout) {
  for (const seesaw_dtype dtype : {SEESAW_BFLOAT16, SEESAW_FLOAT16, SEESAW_FLOAT32}) {
    for (const int64_t parts : {2, 3, 31, 32, 33, 64}) {
      expect_merged({.parts = parts, .dtype = dtype});
    }
    for (const int64_t d_v : {1, 7, 128, 257, 512, 1000}) {
      for (const int64_t gap : {0, 3, 8}) {
        expect_merged({.b = 2, .s = 3, .h = 5, .d_v = d_v, .dtype = dtype, .gap = gap});
      }
    }
    for (const int32_t base : {SEESAW_LSE_NATURAL, SEESAW_LSE_BASE2}) {
      for (const LseOrder order : {LseOrder::kTokensHeads, LseOrder::kHeadsTokens}) {
        expect_merged({.parts = 3,
                       .b = 4,
                       .s = 2,
                       .dtype = dtype,
                       .lse_base = base,
                       .empty_lse = base,
                       .order = order,
                       .spread = 60.0F});
      }
    }
  }
}

TEST(Quick, MergeStatesIntoAPart) {
  MergeCase the_case({.parts = 5, .b = 300, .h = 16});
  DeviceMerge device(the_case);
  device.args.out = device.out(1);
  device.args.lse = device.lse(1);
  device.run();
  EXPECT_EQ(the_case.compare(), "");
}

TEST(MergeStatesOnGpu, ManyRowsAndNoRows) {
  expect_merged({.parts = 3, .b = 4096, .h = 128, .d_v = 64});
  expect_merged({.b = 0});
}

}  // namespace
}  // namespace seesaw::gpu_test
