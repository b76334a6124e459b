// The emulator's side of src/gpu/ptx/grid_dependency.cuh.
#pragma once

#include <cuda_runtime.h>

namespace seesaw::ptx {

inline void wait_for_previous_grid() { emulator::wait_for_previous_grid(); }
inline void release_next_grid() { emulator::release_next_grid(); }

}  // namespace seesaw::ptx
