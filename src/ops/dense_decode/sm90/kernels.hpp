// The compiled instances of the kernel.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "base/status.hpp"
#include "core/tensor.hpp"
#include "ops/dense_decode/sm90/config.hpp"

namespace seesaw::dense_decode::sm90 {

struct AttentionLaunch {
  dim3 grid;           // as block_work() reads it
  int32_t device = 0;  // the current one
  cudaStream_t stream = nullptr;
};

// A compiled instance.
struct AttentionKernel {
  // Asynchronous; checked.
  Status (*launch)(const DenseDecodeParams& params, const AttentionLaunch& launch) = nullptr;
  int copy_boxes = kCopyBoxes;  // of params.kv_map
};

// The instance for an element type (q and cache) and d_qk, both supported.
using FindKernel = AttentionKernel (*)(DType element, int64_t d_qk);
AttentionKernel find_attention_kernel(DType element, int64_t d_qk);

}  // namespace seesaw::dense_decode::sm90
