// The device's own time.
#pragma once

#include <cuda_runtime_api.h>

namespace seesaw::gpu {

// Writes it, in nanoseconds, once everything before it on `stream` has ended.
cudaError_t launch_stamp(unsigned long long* time_ns, cudaStream_t stream);

}  // namespace seesaw::gpu
