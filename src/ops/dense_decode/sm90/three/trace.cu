// The traced variant: d_qk 576 in bf16.
#include "gpu/clock_marks.cuh"
#include "ops/dense_decode/sm90/three/instance.cuh"
#include "ops/dense_decode/sm90/three/kernels.hpp"

namespace seesaw::dense_decode::sm90::three {

cudaError_t set_trace_blocks(gpu::TraceBlock* blocks, cudaStream_t stream) {
  return gpu::set_blocks_of_this_file(blocks, stream);
}

Status launch_traced(const DenseDecodeParams& params, const AttentionLaunch& launch) {
  return launch_instance<gpu::Traced<DenseDecodeConfig<__nv_bfloat16, 576>, kWarpgroupThreads>>(
      params, launch);
}

}  // namespace seesaw::dense_decode::sm90::three
