// A call by the traced variant of an attention kernel: runs it, and makes spans of what its thread
// blocks noted (marks.hpp).
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>

#include "base/status.hpp"
#include "core/trace.hpp"
#include "gpu/marks.hpp"
#include "split/split_kv.hpp"

namespace seesaw::gpu {

struct TracedCall {
  const char* where;  // for messages
  int32_t device = 0;
  cudaStream_t stream = nullptr;
  split::SplitConfig split;
  const void* schedule = nullptr;  // of the call, in device memory
  int32_t blocks_of_worker = 1;    // thread blocks that walk one worker's pieces
  int32_t lanes = 1;               // of a thread block, at most kTracedLanes
  // On `stream`: makes the variant write to these blocks; launches it; launches the combine.
  std::function<cudaError_t(TraceBlock* blocks)> set_blocks;
  std::function<Status()> attend;
  std::function<Status()> combine;
};

// Runs them on the current device, waits, and reports. Steps of a lane: "start" (launch, barriers),
// "query copy", "first tile", "first pair", "steady", "epilogue"; of the whole device "launch" and
// "combine"; where the variant notes tiles (TileMark), those of each of a block's kTileLanes lanes,
// on parts behind those of all blocks' lanes.
Status trace_call(const TracedCall& call, Trace* trace);

}  // namespace seesaw::gpu
