// What a launch waits for.
#pragma once

#include <cstdint>

#include "gpu/device.hpp"

namespace seesaw::gpu {

// kProgrammatic: the kernel may start before its predecessor in the stream has ended, once that has
// released its dependents; it must call ptx::wait_for_previous_grid() before it reads the
// predecessor's results, and in at least one block before that ends, or the next kernel could
// overtake both.
enum class Edge { kFull, kProgrammatic };

// The edge of kernels that run on any GPU. Only the machine code for Hopper has the wait: elsewhere
// a kernel that started early would read what is not written yet.
inline Edge portable_edge(const DeviceProperties& device) {
  return device.compute_major == 9 && device.compute_minor == 0 ? Edge::kProgrammatic : Edge::kFull;
}

}  // namespace seesaw::gpu
