#include "baselines/cuda/cuda_ops.hpp"

#include <algorithm>

#include "baselines/cuda/kernels.hpp"
#include "gpu/device.hpp"

namespace seesaw::baselines {
namespace {

constexpr const char* kWhere = "baselines";

bool start_aligned(const Operands& operands) {
  const auto joined =
      reinterpret_cast<uintptr_t>(operands.a) | reinterpret_cast<uintptr_t>(operands.b) |
      reinterpret_cast<uintptr_t>(operands.c) | reinterpret_cast<uintptr_t>(operands.bias);
  return joined % kAlignedBytes == 0;
}

// The operands of `batch`'s matrix in turn `loop`.
Operands operands_at(const Product& product, const Operands& first, int64_t loop, int64_t batch) {
  const auto offset = [&](const Operand& operand, DType dtype) {
    return (loop * operand.loop_stride + batch * operand.batch_stride) * size_of(dtype);
  };
  Operands moved = first;
  moved.a = static_cast<const char*>(first.a) + offset(product.a, product.in);
  moved.b = static_cast<const char*>(first.b) + offset(product.b, product.in);
  moved.c = static_cast<char*>(first.c) + offset(product.c, product.out);
  return moved;
}

}  // namespace

Status CudaOps::gemm(const Gemm& step) {
  if (bias_comes_first(step)) {
    View bias = step.bias;
    bias.shape = step.c.shape;
    bias.stride = {0, 0, 0, step.bias.stride[3]};
    SEESAW_RETURN_IF_ERROR(copy(bias, step.c));
    return gemm(added_to_bias(step));
  }
  const Product product = product_of(step);
  const PlannedProduct& planned = *products_[next_++];
  const Operands first = {step.a.data, step.b.data, step.bias.data, step.c.data};
  const Alignment alignment = start_aligned(first) ? alignment_of(product) : Alignment::kNone;
  const Algorithm* algorithm = planned.algorithm_for(alignment);
  for (int64_t loop = 0; loop < product.loops; ++loop) {
    for (int64_t batch = 0; batch < product.batch; batch += kMaxLaunchBatch) {
      Product part = product;
      part.batch = std::min(kMaxLaunchBatch, product.batch - batch);
      SEESAW_RETURN_IF_ERROR(multiply(part, operands_at(product, first, loop, batch), algorithm));
    }
  }
  return {};
}

// With the planned algorithm; where cuBLASLt refuses it for these very sizes, with one found now,
// which happens on the host and so disturbs no capture.
Status CudaOps::multiply(const Product& product, const Operands& operands,
                         const Algorithm* algorithm) {
  const CublasLt& lt = *context_.lt;
  if (algorithm != nullptr) {
    const cublasStatus_t status = launch_product(lt, context_.handle, product, operands, *algorithm,
                                                 context_.workspace, context_.stream);
    if (status != CUBLAS_STATUS_NOT_SUPPORTED && status != CUBLAS_STATUS_INVALID_VALUE) {
      return status_of(lt, status, "cublasLtMatmul");
    }
  }
  const int64_t alignment = start_aligned(operands) ? kAlignedBytes : size_of(product.in);
  const std::optional<Algorithm> found = choose_algorithm(
      lt, context_.handle, product, static_cast<uint32_t>(alignment), context_.workspace.bytes);
  if (!found) {
    return no_algorithm(product);
  }
  return status_of(lt,
                   launch_product(lt, context_.handle, product, operands, *found,
                                  context_.workspace, context_.stream),
                   "cublasLtMatmul");
}

Status CudaOps::softmax(const Softmax& step) {
  return gpu::status_of(launch_softmax(step, context_.stream), kWhere, "launching softmax");
}

Status CudaOps::rms_norm(const RmsNorm& step) {
  return gpu::status_of(launch_rms_norm(step, context_.stream), kWhere, "launching RMS norm");
}

Status CudaOps::rotary(const Rotary& step) {
  return gpu::status_of(launch_rotary(step, context_.stream), kWhere,
                        "launching the rotary embedding");
}

Status CudaOps::copy(const View& from, const View& to) {
  return gpu::status_of(launch_copy(from, to, context_.stream), kWhere, "launching a copy");
}

}  // namespace seesaw::baselines
