// A call by a core's traced variant.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "attention/device/run.hpp"
#include "core/trace.hpp"
#include "gpu/marks.hpp"

namespace seesaw::attention::device {

// A core's traced variant: the same kernel with a clock, compiled apart.
struct TracedVariant {
  int32_t lanes;  // of a thread block (gpu/marks.hpp)
  cudaError_t (*set_blocks)(gpu::TraceBlock* blocks, cudaStream_t stream);
  LaunchAttention launch;
};

// Runs attention and combine on `stream`, waits, and reports: the steps of gpu::trace_call.
Status trace(const Plan& plan, const Call& call, void* stream, const TracedVariant& variant,
             Trace* trace);

}  // namespace seesaw::attention::device
