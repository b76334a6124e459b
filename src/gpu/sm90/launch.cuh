// How kernels for Hopper with warpgroups of several roles are launched.
#pragma once

#include "gpu/launch.cuh"

namespace seesaw::gpu::sm90 {

struct RoleKernel {
  const char* name;  // for messages
  size_t shared_bytes;
  int threads;
  int registers;  // that the launch gives a thread, and setmaxnreg shares out anew
};

// The kernel waits for the grid before it itself, after its own set-up. `launch`: grid, device and
// stream. Asynchronous; checked.
template <auto kKernel, typename Launch, typename Params>
Status launch_roles(const RoleKernel& kernel, const Launch& launch, const Params& params) {
  return launch_attention<kKernel>({.name = kernel.name,
                                    .dynamic_shared_bytes = static_cast<int>(kernel.shared_bytes),
                                    .registers = kernel.registers},
                                   launch.device,
                                   {.grid = launch.grid,
                                    .block = dim3(static_cast<unsigned>(kernel.threads)),
                                    .shared_bytes = kernel.shared_bytes,
                                    .stream = launch.stream,
                                    .edge = Edge::kProgrammatic},
                                   params);
}

}  // namespace seesaw::gpu::sm90
