// How a rung is launched, and the few device facilities that the rungs do not get from CUDA by
// name. tests/ladder/emulator has a file of the same name that lets the same rungs run on a CPU.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "base/status.hpp"
#include "ladder/problem.hpp"

namespace seesaw::ladder {

// This block's dynamic shared memory, aligned to what TMA and WGMMA need (1024 bytes).
__device__ __forceinline__ unsigned char* dynamic_shared() {
  extern __shared__ __align__(1024) unsigned char ladder_shared_memory[];
  return ladder_shared_memory;
}

struct LaunchShape {
  int blocks_x = 1;
  int blocks_y = 1;
  int threads = 1;
  size_t shared_bytes = 0;
};

inline Status cuda_status(cudaError_t error, const char* what) {
  if (error == cudaSuccess) {
    return {};
  }
  return device_error(std::string("ladder: ") + what + " failed: " + cudaGetErrorString(error) +
                      ", allowed: success. Needs a Hopper GPU with its driver.");
}

// Lets a kernel use `bytes` of dynamic shared memory; above 48 KB it has to be asked for.
template <typename... Parameters>
Status allow_shared(void (*kernel)(Parameters...), size_t bytes) {
  return cuda_status(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                          static_cast<int>(bytes)),
                     "asking for shared memory");
}

template <typename... Parameters, typename... Arguments>
Status launch(void (*kernel)(Parameters...), const LaunchShape& shape, Stream stream,
              const Arguments&... arguments) {
  const dim3 grid(static_cast<unsigned>(shape.blocks_x), static_cast<unsigned>(shape.blocks_y));
  kernel<<<grid, static_cast<unsigned>(shape.threads), shape.shared_bytes,
           static_cast<cudaStream_t>(stream)>>>(arguments...);
  return cuda_status(cudaGetLastError(), "the launch");
}

}  // namespace seesaw::ladder
