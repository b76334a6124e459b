// The operations on a GPU: cuBLASLt's products and this folder's kernels, in order on one stream.
// They allocate nothing, wait for nothing, and can be captured in a graph.
#pragma once

#include "baselines/cuda/plan.hpp"

namespace seesaw::baselines {

// What a run has beside its steps. The handle's device is current.
struct CudaContext {
  const CublasLt* lt = nullptr;
  cublasLtHandle_t handle = nullptr;
  Workspace workspace;  // of products
  cudaStream_t stream = nullptr;
};

class CudaOps final : public Ops {
 public:
  // `products` are those that will come. Both outlive the run.
  CudaOps(Arena& arena, const CudaContext& context, const ProductList& products)
      : Ops(arena), context_(context), products_(products) {}

  Status gemm(const Gemm& step) override;
  Status softmax(const Softmax& step) override;
  Status rms_norm(const RmsNorm& step) override;
  Status rotary(const Rotary& step) override;
  Status copy(const View& from, const View& to) override;

 private:
  Status multiply(const Product& product, const Operands& operands, const Algorithm* algorithm);

  const CudaContext& context_;
  const ProductList& products_;
  size_t next_ = 0;  // of products_
};

}  // namespace seesaw::baselines
