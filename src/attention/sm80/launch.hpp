// From a plan and a call to the launch of attention.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "attention/device/launch.hpp"
#include "attention/sm80/kernels.hpp"

namespace seesaw::attention::sm80 {

// Columns of the values that the instance for a problem has, 256 or 512.
int32_t value_columns(const Problem& problem);
const Instance& instance_for(const Problem& problem, int32_t tile_rows);

// On the current device, which must be the call's. Asynchronous; checked.
Status launch_attention(const Plan& plan, const Geometry& geometry, const Call& call,
                        gpu::Edge edge, cudaStream_t stream);
// The same by an instance with a clock (kernels.hpp), if the problem has one.
bool has_traced_variant(const Problem& problem);
Status launch_traced(const Plan& plan, const Geometry& geometry, const Call& call, gpu::Edge edge,
                     cudaStream_t stream);

}  // namespace seesaw::attention::sm80
