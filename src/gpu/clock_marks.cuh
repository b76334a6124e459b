// The device half of traced variants, for the files that compile them: each has a place of its own
// to write to. No parameter of the kernels knows of it, so that untraced ones are as without.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "gpu/marks.hpp"
#include "gpu/ptx/clock.cuh"

namespace seesaw::gpu {
namespace {

__device__ TraceBlock* trace_blocks;

// The first thread of a lane notes; nothing is counted, so no register is kept for it.
template <int kLaneThreads>
struct ClockMarks {
  static __device__ __forceinline__ void note(int piece, Mark what) {
    if (threadIdx.x % kLaneThreads != 0 || piece >= kTracedPieces) return;
    const unsigned lane = threadIdx.x / kLaneThreads;
    if (lane >= kTracedLanes) return;
    TraceBlock& to = block();
    const unsigned long long now = ptx::clock_cycles();
    to.clock[lane][piece][static_cast<int>(what)] = now;
    if (what == Mark::kEntered && lane == 0) {
      to.entered_ns = ptx::time_ns();
      to.entered_clock = now;
    }
    if (what == Mark::kLeft && lane == 0) {
      to.left_ns = ptx::time_ns();
      to.left_clock = now;
    }
  }

  static __device__ __forceinline__ void note_tile(uint32_t tile, TileMark what) {
    const unsigned lane = threadIdx.x / kLaneThreads;
    if (threadIdx.x % kLaneThreads != 0 || tile >= kTracedTiles || lane >= kTileLanes) return;
    block().tile_clock[lane][tile][static_cast<int>(what)] = ptx::clock_cycles();
  }

 private:
  static __device__ __forceinline__ TraceBlock& block() {
    return trace_blocks[(blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x];
  }
};

// A kernel's Config with a clock.
template <typename Config, int kLaneThreads>
struct Traced : Config {
  using Marks = ClockMarks<kLaneThreads>;
};

// Makes this file's traced variants write to `blocks`, one entry a thread block, x fastest.
cudaError_t set_blocks_of_this_file(TraceBlock* blocks, cudaStream_t stream) {
  return cudaMemcpyToSymbolAsync(trace_blocks, &blocks, sizeof(blocks), 0, cudaMemcpyHostToDevice,
                                 stream);
}

}  // namespace
}  // namespace seesaw::gpu
