// From a plan and a call to launches: attention and the combine.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "attention/call.hpp"
#include "attention/plan.hpp"
#include "attention/sm80/kernels.hpp"
#include "gpu/device.hpp"
#include "gpu/partials.hpp"

namespace seesaw::attention::sm80 {

// Columns of the values that the instance for a problem has, 256 or 512.
int32_t value_columns(const Problem& problem);
const Instance& instance_for(const Problem& problem, int32_t tile_rows);

// What a launch and the combine need of a plan.
struct Geometry {
  int32_t group;        // query heads of a KV head
  int32_t rows;         // query rows of a KV head
  int32_t group_tiles;  // row tiles of a row group (split/row_groups.hpp)
  gpu::PartialLayout partials;
};

Geometry geometry_of(const Plan& plan);

// On the current device, which must be the call's. Asynchronous; checked.
Status launch_attention(const Plan& plan, const Geometry& geometry, const Call& call,
                        gpu::Edge edge, cudaStream_t stream);
Status launch_combine(const Plan& plan, const Geometry& geometry, const Call& call,
                      const gpu::DeviceProperties& device, cudaStream_t stream);

}  // namespace seesaw::attention::sm80
