// The compiled variants, one translation unit an element type.
#pragma once

#include <cuda_runtime_api.h>

#include "ops/dense_decode/sm90/config.hpp"

namespace seesaw::dense_decode::sm90 {

// Launches the variant for d_qk on the current device; `grid` as block_work() reads it.
cudaError_t launch_bf16(const DenseDecodeParams& params, int d_qk, dim3 grid, cudaStream_t stream);
cudaError_t launch_fp16(const DenseDecodeParams& params, int d_qk, dim3 grid, cudaStream_t stream);

}  // namespace seesaw::dense_decode::sm90
