// The cache of tensor maps gives what the driver gives, whatever was asked for before.
#include "gpu/tensor_map.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "gpu/device.hpp"

namespace seesaw::gpu_test {
namespace {

// What no cache is asked for.
CUtensorMap encode(const gpu::BoxMap& wanted) {
  cuuint64_t shape[gpu::kBoxRank];
  cuuint64_t stride_bytes[gpu::kBoxRank - 1];
  for (size_t i = 0; i < gpu::kBoxRank; ++i) shape[i] = wanted.shape[i];
  for (size_t i = 0; i + 1 < gpu::kBoxRank; ++i) {
    stride_bytes[i] = static_cast<cuuint64_t>(wanted.stride[i]) * 2;
  }
  const cuuint32_t step[gpu::kBoxRank] = {1, 1, 1, 1, 1};
  CUtensorMap map;
  const CUresult result = gpu::driver()->tensor_map_encode_tiled(
      &map,
      wanted.dtype == DType::kBFloat16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
                                       : CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
      gpu::kBoxRank, wanted.data, shape, stride_bytes, wanted.box, step,
      CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
      CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  EXPECT_EQ(result, CUDA_SUCCESS);
  return map;
}

gpu::BoxMap map_at(uint64_t address) {
  return {.what = "test",
          .dtype = DType::kBFloat16,
          .data = reinterpret_cast<void*>(address),
          .shape = {64, 64, 9, 1, 1000},
          .stride = {576, 64, 576, 64 * 576},
          .box = {64, 64, 2, 1, 1}};
}

void expect_right(const gpu::BoxMap& wanted) {
  CUtensorMap got;
  const Status status = gpu::make_tensor_map(wanted, &got);
  ASSERT_TRUE(status.ok()) << status.message();
  const CUtensorMap truth = encode(wanted);
  EXPECT_EQ(std::memcmp(&got, &truth, sizeof(got)), 0);
}

// More addresses than the cache has places, each of them asked for again and again.
TEST(TensorMap, ManyAddressesInAnyOrder) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 20000 && !testing::Test::HasFailure(); ++i) {
    expect_right(map_at(0x7f0000000000 + random() % 1500 * 16));
  }
}

// The same address with one other number: everything is part of the key.
TEST(TensorMap, EveryNumberCounts) {
  const gpu::BoxMap base = map_at(0x7f0000000000);
  std::vector<gpu::BoxMap> maps = {base};
  const auto with = [&](auto change) {
    gpu::BoxMap changed = base;
    change(changed);
    maps.push_back(changed);
  };
  with([](gpu::BoxMap& m) { m.dtype = DType::kFloat16; });
  with([](gpu::BoxMap& m) { m.shape[4] = 999; });
  with([](gpu::BoxMap& m) { m.shape[1] = 128; });
  with([](gpu::BoxMap& m) { m.stride[0] = 584; });
  with([](gpu::BoxMap& m) { m.stride[3] = 64 * 584; });
  with([](gpu::BoxMap& m) { m.box[2] = 1; });
  with([](gpu::BoxMap& m) { m.box[1] = 32; });
  for (int round = 0; round < 3; ++round) {
    for (const gpu::BoxMap& map : maps) {
      expect_right(map);
    }
  }
}

TEST(TensorMap, AFailureIsNotKept) {
  gpu::BoxMap wrong = map_at(0x7f0000000008);  // not on 16 bytes
  CUtensorMap map;
  EXPECT_EQ(gpu::make_tensor_map(wrong, &map).code(), StatusCode::kDeviceError);
  EXPECT_EQ(gpu::make_tensor_map(wrong, &map).code(), StatusCode::kDeviceError);
  expect_right(map_at(0x7f0000000000));
}

}  // namespace
}  // namespace seesaw::gpu_test
