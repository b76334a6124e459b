// The compiled instances of the kernel.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <span>

#include "attention/sm90/config.hpp"
#include "base/status.hpp"
#include "core/dtype.hpp"
#include "gpu/marks.hpp"

namespace seesaw::attention::sm90 {

struct KernelLaunch {
  dim3 grid;           // as device/work.cuh reads it
  int32_t device = 0;  // the current one
  cudaStream_t stream = nullptr;
};

struct InstanceKey {
  DType type;     // of the queries
  int64_t d_qk;   // 576 or 512
  bool converts;  // the cache's e4m3 records
  int32_t rows;   // of a tile: 64, or kSwappedRows

  bool operator==(const InstanceKey&) const = default;
};
// By the parameters of a launch.
template <typename LaunchParams>
struct InstanceOf {
  // Launches it. Asynchronous; checked.
  using Launch = Status (*)(const LaunchParams& params, const KernelLaunch& launch);

  InstanceKey key;
  Launch launch;
};
using Instance = InstanceOf<Params>;
using RingInstance = InstanceOf<RingParams>;
using AttentionKernel = Instance::Launch;
using RingKernel = RingInstance::Launch;

// The instances: the seesaw's, and those with swapped operands, and of these those with a ring.
std::span<const Instance> seesaw_instances();
std::span<const Instance> swapped_instances();
std::span<const RingInstance> ring_instances();

// Some of them with a clock, of queries of bf16. They write to `blocks`, one entry a thread block,
// x fastest.
std::span<const Instance> traced_instances();
std::span<const RingInstance> traced_ring_instances();
cudaError_t set_trace_blocks(gpu::TraceBlock* blocks, cudaStream_t stream);

}  // namespace seesaw::attention::sm90
