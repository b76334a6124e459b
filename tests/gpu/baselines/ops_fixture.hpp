// Runs single operations on the GPU and in plain loops on the host, over the same tensors.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "baselines/cuda/cuda_ops.hpp"
#include "gpu/device.hpp"
#include "mirror.hpp"

namespace seesaw::baselines::gpu_test {

inline constexpr DType kTypes[] = {DType::kFloat32, DType::kBFloat16, DType::kFloat16};

class CublasHandle {
 public:
  CublasHandle() { cublaslt().functions->create(&handle_); }
  ~CublasHandle() { cublaslt().functions->destroy(handle_); }
  CublasHandle(const CublasHandle&) = delete;
  CublasHandle& operator=(const CublasHandle&) = delete;
  cublasLtHandle_t get() const { return handle_; }

 private:
  cublasLtHandle_t handle_ = nullptr;
};

// Runs steps on the GPU. Products are planned for what `planned` says, by default their own shapes.
class Gpu {
 public:
  CudaContext context() {
    workspace_.reserve(kMaxProductWorkspace);
    return {.lt = cublaslt().functions,
            .handle = handle_.get(),
            .workspace = {workspace_.as<void>(), kMaxProductWorkspace},
            .stream = stream_.get()};
  }

  Status run(const std::function<Status(Ops&)>& step) { return run_planned(step, {}); }

  // A run's step that was planned as `planned`.
  Status run_product(const Gemm& step, const Gemm& planned) {
    const Product product = planned_product(planned);
    return run_planned([&](Ops& ops) { return ops.gemm(step); },
                       {std::make_shared<const PlannedProduct>(
                           plan_product(*cublaslt().functions, handle_.get(), product,
                                        varying_between(product, planned_product(step))))});
  }

 private:
  static Product planned_product(const Gemm& step) {
    return product_of(bias_comes_first(step) ? added_to_bias(step) : step);
  }

  Status run_planned(const std::function<Status(Ops&)>& step, const ProductList& products) {
    Arena arena;
    const CudaContext here = context();
    CudaOps ops(arena, here, products);
    SEESAW_RETURN_IF_ERROR(step(ops));
    return gpu::status_of(cudaStreamSynchronize(stream_.get()), "test", "waiting");
  }

  CublasHandle handle_;
  DeviceBuffer workspace_;
  Stream stream_;
};

class OpsTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(cublaslt().functions, nullptr) << cublaslt().why_not;
    gpu_ = std::make_unique<Gpu>();
  }

  // Memory of a step, which lives as long as the test.
  ViewPair tensor(DType dtype, Dims shape, int64_t offset = 0, double size = 1.0) {
    Mirror& mirror = mirrors_.emplace_back(dtype, count_of(shape), offset);
    mirror.fill(mirrors_.size(), size);
    return pair_of(mirror, shape);
  }
  // Filled with NaN.
  ViewPair result(DType dtype, Dims shape, int64_t offset = 0) {
    return pair_of(mirrors_.emplace_back(dtype, count_of(shape), offset), shape);
  }
  ViewPair bytes(Dims shape, double visible, uint64_t seed) {
    masks_.emplace_back();
    HostAndDevice& mask = masks_.back();
    std::mt19937_64 engine(seed);
    std::bernoulli_distribution shown(visible);
    for (int64_t i = 0; i < count_of(shape); ++i) {
      mask.host.push_back(shown(engine) ? 1 : 0);
    }
    mask.device.reserve(mask.host.size());
    must(cudaMemcpy(mask.device.as<void>(), mask.host.data(), mask.host.size(),
                    cudaMemcpyHostToDevice),
         "mask");  // complete after the tensors' upload
    return {packed(mask.host.data(), DType::kUInt8, shape),
            packed(mask.device.as<void>(), DType::kUInt8, shape)};
  }

  void upload() {
    for (Mirror& mirror : mirrors_) {
      mirror.upload();
    }
  }
  // Every tensor, not only the result, is as the host has it.
  void expect_same(const Tolerance& allowed, const std::string& what) {
    for (Mirror& mirror : mirrors_) {
      ASSERT_EQ(mirror.difference(allowed), "") << what;
    }
    mirrors_.clear();
    masks_.clear();
  }
  Status host(const std::function<Status(Ops&)>& step) {
    Arena arena;
    HostOps ops(arena);
    return step(ops);
  }

  struct HostAndDevice {
    std::vector<uint8_t> host;
    DeviceBuffer device;
  };
  std::unique_ptr<Gpu> gpu_;
  std::deque<Mirror> mirrors_;
  std::deque<HostAndDevice> masks_;
};

}  // namespace seesaw::baselines::gpu_test
