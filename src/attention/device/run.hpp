// Preparing and running a call on a GPU, but for the attention kernel itself.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "attention/device/launch.hpp"
#include "gpu/edge.hpp"

namespace seesaw::attention::device {

// Launches a kernel of attention for a plan that was made for it. Asynchronous; checked.
using LaunchAttention = Status (*)(const Plan& plan, const Geometry& geometry, const Call& call,
                                   gpu::Edge edge, cudaStream_t stream);

// Bytes of the plan's workspace: partials, and what options.check_data wants.
uint64_t workspace_bytes(const Plan& plan);

// Launches the planner of the call's lengths on `stream`, which writes `schedule`: device memory of
// plan.schedule_bytes. Asynchronous.
Status prepare(const Plan& plan, const Call& call, void* schedule, void* stream);

// Launches attention, and the combine if the plan can split an item, on `stream`. Asynchronous, but
// for options.check_data, with which it first reads lengths, block table and schedule back.
Status run(const Plan& plan, const Call& call, void* stream, LaunchAttention launch);

}  // namespace seesaw::attention::device
