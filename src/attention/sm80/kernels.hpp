// The compiled instances of the kernel: by element type, columns of the values, rows of a tile, and
// whether records are converted.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <span>

#include "attention/sm80/layout.hpp"
#include "base/status.hpp"
#include "core/dtype.hpp"
#include "gpu/edge.hpp"
#include "gpu/marks.hpp"

namespace seesaw::attention::sm80 {

struct KernelLaunch {
  dim3 grid;           // as work.cuh reads it
  int32_t device = 0;  // the current one
  gpu::Edge edge = gpu::Edge::kFull;
  cudaStream_t stream = nullptr;
};

struct Instance {
  InstanceNumbers numbers;
  // Launches it. Asynchronous; checked.
  Status (*launch)(const Params& params, const KernelLaunch& launch);
};

// Four each, in files of their own, which compile side by side.
std::span<const Instance> bf16_instances();
std::span<const Instance> fp16_instances();
std::span<const Instance> bf16_converting_instances();
std::span<const Instance> fp16_converting_instances();

struct InstanceKey {
  DType type;             // of the queries
  bool converts;          // the cache's records
  int32_t value_columns;  // 256 or 512
  int32_t tile_rows;      // 16 or 32
};
const Instance& find_instance(const InstanceKey& key);

// The instances with a clock, of 16 and 32 rows: queries of bf16, 512 columns.
std::span<const Instance> traced_instances(bool converts);
// Makes them write to `blocks`, one entry a thread block, x fastest.
cudaError_t set_trace_blocks(gpu::TraceBlock* blocks, cudaStream_t stream);

}  // namespace seesaw::attention::sm80
