// From a plan and a call to the parameters of a launch, and the combine: what the kernels for GPUs
// share on the host.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "attention/call.hpp"
#include "attention/device/params.hpp"
#include "attention/plan.hpp"
#include "base/status.hpp"
#include "gpu/device.hpp"
#include "gpu/partials.hpp"

namespace seesaw::attention::device {

// What a launch and the combine need of a plan.
struct Geometry {
  int32_t group;        // query heads of a KV head
  int32_t rows;         // query rows of a KV head
  int32_t group_tiles;  // row tiles of a row group (split/row_groups.hpp)
  gpu::PartialLayout partials;
};

Geometry geometry_of(const Plan& plan);

// Fills in all of `params` that is no kernel's own.
Status fill_params(const Plan& plan, const Geometry& geometry, const Call& call, Params* params);

// Row tiles of a group, KV heads, workers: what work.cuh reads of a block's index.
dim3 grid_of(const Plan& plan, const Geometry& geometry);

// Merges what attention left in the workspace. On the current device, which must be the call's.
// Asynchronous; checked.
Status launch_combine(const Plan& plan, const Geometry& geometry, const Call& call,
                      const gpu::DeviceProperties& device, cudaStream_t stream);

}  // namespace seesaw::attention::device
