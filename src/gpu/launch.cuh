// Launching kernels, for .cu files: the launch's shape as a struct, and programmatic dependent
// launch (CUDA C++ Programming Guide, "Programmatic Dependent Launch and Synchronization").
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

namespace seesaw::gpu {

// kProgrammatic: the kernel may start before its predecessor in the stream has ended, once that has
// released its dependents; it must call ptx::wait_for_previous_grid() before it reads the
// predecessor's results, and in at least one block before that ends, or the next kernel could
// overtake both.
enum class Edge { kFull, kProgrammatic };

struct LaunchShape {
  dim3 grid;
  dim3 block;
  size_t shared_bytes = 0;
  cudaStream_t stream = nullptr;
  Edge edge = Edge::kFull;
};

template <typename Params>
cudaError_t launch_kernel(void (*kernel)(Params), const LaunchShape& shape, const Params& params) {
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = shape.stream;
  config.attrs = &attribute;
  config.numAttrs = shape.edge == Edge::kProgrammatic ? 1 : 0;
  return cudaLaunchKernelEx(&config, kernel, params);
}

}  // namespace seesaw::gpu
