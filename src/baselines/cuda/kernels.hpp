// The operations beside the matrix products: parameters and launchers. Each launcher picks the grid
// and returns what the launch returned. Contracts: ops.hpp.
#pragma once

#include <cuda_runtime_api.h>

#include "baselines/ops.hpp"

namespace seesaw::baselines {

cudaError_t launch_softmax(const Softmax& step, cudaStream_t stream);
cudaError_t launch_rms_norm(const RmsNorm& step, cudaStream_t stream);
cudaError_t launch_rotary(const Rotary& step, cudaStream_t stream);
cudaError_t launch_copy(const View& from, const View& to, cudaStream_t stream);

// cudaSuccess if this build has machine code for the current device.
cudaError_t kernels_are_loadable();

}  // namespace seesaw::baselines
