// The compiled instances of the kernel.
#pragma once

#include "gpu/marks.hpp"
#include "ops/dense_decode/sm90/kernels.hpp"

namespace seesaw::dense_decode::sm90::three {

// As sm90::find_attention_kernel.
AttentionKernel find_attention_kernel(DType element, int64_t d_qk);

// As those of ../trace.hpp.
cudaError_t set_trace_blocks(gpu::TraceBlock* blocks, cudaStream_t stream);
Status launch_traced(const DenseDecodeParams& params, const AttentionLaunch& launch);

}  // namespace seesaw::dense_decode::sm90::three
