// One matrix product by cuBLASLt: choosing an algorithm, which is planning, and launching it.
#pragma once

#include <cuda_runtime_api.h>

#include <optional>

#include "baselines/cuda/cublaslt.hpp"
#include "baselines/cuda/product.hpp"

namespace seesaw::baselines {

// Algorithms may use this much of the caller's workspace: what cuBLAS recommends on Hopper.
inline constexpr uint64_t kMaxProductWorkspace = uint64_t{32} << 20;

struct Algorithm {
  cublasLtMatmulAlgo_t algo{};
  uint64_t workspace_bytes = 0;
};

// What cuBLASLt's heuristic likes best for a product whose matrices start at multiples of
// `alignment` bytes; its batch is one launch's. Sums that are split over k are added in one order
// and in float32, so that same inputs give the same bits. Nothing if no algorithm does it within
// `max_workspace` bytes.
std::optional<Algorithm> choose_algorithm(const CublasLt& lt, cublasLtHandle_t handle,
                                          const Product& product, uint32_t alignment,
                                          uint64_t max_workspace);

// Addresses of one batch.
struct Operands {
  const void* a = nullptr;
  const void* b = nullptr;
  const void* bias = nullptr;
  void* c = nullptr;
};

struct Workspace {
  void* data = nullptr;  // alignment 256
  uint64_t bytes = 0;
};

// One batch of the product, at most kMaxLaunchBatch, on `stream`.
cublasStatus_t launch_product(const CublasLt& lt, cublasLtHandle_t handle, const Product& product,
                              const Operands& operands, const Algorithm& algorithm,
                              const Workspace& workspace, cudaStream_t stream);

}  // namespace seesaw::baselines
