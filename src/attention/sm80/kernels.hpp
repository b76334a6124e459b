// The compiled instances of the kernel: by element type, columns of the values, and rows of a tile.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <span>

#include "attention/sm80/layout.hpp"
#include "base/status.hpp"
#include "core/dtype.hpp"
#include "gpu/edge.hpp"

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

// Four each: in kernels_bf16.cu and kernels_fp16.cu.
std::span<const Instance> bf16_instances();
std::span<const Instance> fp16_instances();

// The instance with so many columns of the values, 256 or 512, and rows of a tile, 16 or 32.
const Instance& find_instance(DType type, int32_t value_columns, int32_t tile_rows);

}  // namespace seesaw::attention::sm80
