// The traced variant's device half.
#include "gpu/ptx/clock.cuh"
#include "ops/dense_decode/sm90/instance.cuh"
#include "ops/dense_decode/sm90/trace.hpp"

namespace seesaw::dense_decode::sm90 {
namespace {

__device__ TraceBlock* trace_blocks;

// One thread of each consumer warpgroup notes; nothing is counted, so no register is kept for it.
struct ClockMarks {
  static __device__ __forceinline__ void note(int piece, Mark what) {
    if (threadIdx.x % kWarpgroupThreads != 0 || piece >= kTracedPieces) return;
    const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    TraceBlock& to = trace_blocks[block];
    const unsigned warpgroup = threadIdx.x / kWarpgroupThreads;
    if (warpgroup > 1) return;
    const unsigned long long now = ptx::clock_cycles();
    to.clock[warpgroup][piece][static_cast<int>(what)] = now;
    if (what == Mark::kEntered && warpgroup == 0) {
      to.entered_ns = ptx::time_ns();
      to.entered_clock = now;
    }
    if (what == Mark::kLeft && warpgroup == 0) {
      to.left_ns = ptx::time_ns();
      to.left_clock = now;
    }
  }
};

template <typename Base>
struct Traced : Base {
  using Marks = ClockMarks;
};

__global__ void stamp(unsigned long long* to) { *to = ptx::time_ns(); }

}  // namespace

cudaError_t set_trace_blocks(TraceBlock* blocks, cudaStream_t stream) {
  return cudaMemcpyToSymbolAsync(trace_blocks, &blocks, sizeof(blocks), 0, cudaMemcpyHostToDevice,
                                 stream);
}

Status launch_traced(const DenseDecodeParams& params, const AttentionLaunch& launch) {
  return launch_instance<Traced<DenseDecodeConfig<__nv_bfloat16, 576>>>(params, launch);
}

cudaError_t launch_stamp(unsigned long long* time, cudaStream_t stream) {
  stamp<<<1, 1, 0, stream>>>(time);
  return cudaGetLastError();
}

}  // namespace seesaw::dense_decode::sm90
