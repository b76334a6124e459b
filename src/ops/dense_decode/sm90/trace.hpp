// sm90.dense_decode with a clock: a variant of the kernel, compiled apart, whose consumer
// warpgroups note when they reach what (gpu/marks.hpp). d_qk 576 in bf16.
#pragma once

#include <cuda_runtime_api.h>

#include "base/status.hpp"
#include "core/trace.hpp"
#include "gpu/marks.hpp"
#include "ops/dense_decode/plan.hpp"
#include "ops/dense_decode/problem.hpp"
#include "ops/dense_decode/sm90/kernels.hpp"

namespace seesaw::dense_decode::sm90 {

// Makes the traced variant write to `blocks`, one entry a thread block, x fastest.
cudaError_t set_trace_blocks(gpu::TraceBlock* blocks, cudaStream_t stream);
Status launch_traced(const DenseDecodeParams& params, const AttentionLaunch& launch);

// A kernel's traced variant.
struct TracedVariant {
  int32_t lanes;  // of a thread block (gpu/marks.hpp)
  cudaError_t (*set_blocks)(gpu::TraceBlock* blocks, cudaStream_t stream);
  AttentionKernel launch;
};

// Runs attention and combine on call.stream, waits, and reports: the steps of gpu::trace_call.
Status trace_by(const TracedVariant& variant, const DenseDecodePlan& plan, const Args& args,
                const Call& call, Trace* trace);
Status trace(const DenseDecodePlan& plan, const Args& args, const Call& call, Trace* trace);

}  // namespace seesaw::dense_decode::sm90
