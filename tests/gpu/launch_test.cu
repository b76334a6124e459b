// What a kernel needs before its first launch: gpu/launch.cuh.
#include <gtest/gtest.h>

#include "gpu/launch.cuh"

namespace seesaw::gpu_test {
namespace {

__global__ void __launch_bounds__(384, 1) store_one(int* to) { *to = 1; }

int registers_of_store_one() {
  cudaFuncAttributes got = {};
  EXPECT_EQ(cudaFuncGetAttributes(&got, reinterpret_cast<const void*>(store_one)), cudaSuccess);
  return got.numRegs;
}

TEST(Launch, FewerRegistersAreRefused) {
  const int registers = registers_of_store_one();
  gpu::KernelSetup right(reinterpret_cast<const void*>(store_one),
                         {.name = "store_one", .registers = registers});
  EXPECT_TRUE(right.prepare(0).ok());
  gpu::KernelSetup wrong(reinterpret_cast<const void*>(store_one),
                         {.name = "store_one", .registers = registers + 8});
  for (int call = 0; call < 2; ++call) {  // a refusal is not forgotten
    const Status status = wrong.prepare(0);
    EXPECT_EQ(status.code(), StatusCode::kDeviceError);
    EXPECT_NE(status.message().find("store_one"), std::string::npos) << status.message();
    EXPECT_NE(status.message().find(std::to_string(registers + 8)), std::string::npos)
        << status.message();
  }
}

TEST(Launch, SharedMemoryBeyondTheDevicesIsRefused) {
  gpu::KernelSetup setup(reinterpret_cast<const void*>(store_one),
                         {.name = "store_one", .dynamic_shared_bytes = 300 * 1024});
  EXPECT_EQ(setup.prepare(0).code(), StatusCode::kDeviceError);
  EXPECT_EQ(cudaPeekAtLastError(), cudaSuccess);
}

}  // namespace
}  // namespace seesaw::gpu_test
