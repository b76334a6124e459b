// gpu.append on the device: the reference kernel's bytes, in every format; many tokens; what is
// skipped.
#include <gtest/gtest.h>

#include "lab/device/device_memory.hpp"
#include "support/append_case.hpp"

namespace seesaw::gpu_test {
namespace {

using lab::DeviceBuffer;
using lab::must;
using testing::AppendCase;
using testing::AppendSpec;
using testing::Buffer;
using testing::kBuffers;

constexpr seesaw_device kDevice{SEESAW_CUDA, 0};

// A case's tensors on the device.
class DeviceAppend {
 public:
  explicit DeviceAppend(AppendCase& on, bool check = false)
      : case_(on),
        plan_(on.problem(), {.device = kDevice, .check_data = check}),
        workspace_(std::max<size_t>(plan_.workspace_bytes(), 1)) {
    for (size_t i = 0; i < kBuffers; ++i) {
      const std::vector<std::byte>& bytes = on.bytes(static_cast<Buffer>(i));
      void* to = memory_[i].reserve(bytes.size() + 1);
      must(cudaMemcpy(to, bytes.data(), bytes.size(), cudaMemcpyHostToDevice), "cudaMemcpy");
      data_[i] = to;
    }
  }

  const char* kernel() const { return plan_.kernel(); }

  void run(cudaStream_t stream = nullptr) {
    plan_.run(case_.args(data_, kDevice), {.workspace = workspace_.as<void>(),
                                           .workspace_bytes = plan_.workspace_bytes(),
                                           .stream = stream});
  }

  void bring_back() {
    must(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    for (size_t i = 0; i < kBuffers; ++i) {
      std::vector<std::byte>& bytes = case_.bytes(static_cast<Buffer>(i));
      must(cudaMemcpy(bytes.data(), data_[i], bytes.size(), cudaMemcpyDeviceToHost), "cudaMemcpy");
    }
  }

 private:
  AppendCase& case_;
  Append plan_;
  DeviceBuffer workspace_;
  std::array<DeviceBuffer, kBuffers> memory_;
  std::array<void*, kBuffers> data_{};
};

void expect_the_references_bytes(const AppendSpec& spec) {
  AppendCase gpu(spec);
  DeviceAppend device(gpu);
  EXPECT_STREQ(device.kernel(), "gpu.append");
  device.run();
  device.bring_back();
  AppendCase cpu(spec);
  Append(cpu.problem(), {.kernel = "reference.append"}).run(cpu.args(), {});
  ASSERT_EQ(gpu.differs_from(cpu), "") << name_of(spec);
  ASSERT_EQ(gpu.changed_elsewhere(), "") << name_of(spec);
}

TEST(Quick, AppendWritesTheReferencesBytes) {
  for (const AppendSpec& spec : testing::append_grid()) expect_the_references_bytes(spec);
}

TEST(Quick, AppendOfPlainFormatsOfAnyColumns) {
  for (const int64_t d_latent : {1, 24, 130, 1000}) {
    for (const int64_t d_rope : {2, 48, 130}) {
      for (const int32_t rotary : {0, 1, 2}) {
        expect_the_references_bytes({.dtype = SEESAW_FLOAT16,
                                     .d_latent = d_latent,
                                     .d_rope = d_rope,
                                     .rotary = rotary,
                                     .h_q = 17});
      }
    }
  }
}

TEST(AppendOnGpu, ManyTokens) {
  for (const int32_t format : {SEESAW_FORMAT_BFLOAT16, SEESAW_FORMAT_FP8_656, SEESAW_FORMAT_FP8_584,
                               SEESAW_FORMAT_FP4_288}) {
    expect_the_references_bytes(
        {.tokens = 20'011, .format = format, .rotary = SEESAW_ROTARY_INTERLEAVED, .h_q = 16});
  }
}

TEST(AppendOnGpu, SlotsBehindTheCacheAreSkippedOrToldIfChecked) {
  AppendCase on({.format = SEESAW_FORMAT_FP8_656});
  on.as<int64_t>(Buffer::kSlots)[3] = on.num_slots();
  DeviceAppend device(on);
  device.run();
  device.bring_back();
  EXPECT_EQ(on.changed_elsewhere(), "");
  DeviceAppend checked(on, true);
  try {
    checked.run();
    ADD_FAILURE() << "not refused";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("slot_mapping[3] = 192"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace seesaw::gpu_test
