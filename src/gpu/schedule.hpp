// The split-KV schedule built on the device: the same bytes as split::build_schedule, from lengths
// in device memory, in one small launch that a CUDA graph can capture.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "base/status.hpp"
#include "split/split_kv.hpp"

namespace seesaw::gpu {

struct ScheduleCall {
  split::SplitConfig config;
  split::Lengths lengths;    // device memory
  int32_t batch = 0;         // <= config.max_batch
  void* schedule = nullptr;  // schedule_bytes(config), device memory
};

// Launches the planner on `stream` of the current device: asynchronous, checked, deterministic. A
// sequence of more tiles than config.max_sequence_tiles counts as one of so many, so that no length
// can make the planner write past the buffer.
Status launch_schedule(const ScheduleCall& call, cudaStream_t stream);

}  // namespace seesaw::gpu
