// The emulator's side of src/gpu/ptx/named_barrier.cuh.
#pragma once

#include <cuda_runtime.h>

namespace seesaw::ptx {

inline void barrier_sync(int id, int threads) {
  __syncwarp();
  emulator::barrier_sync(static_cast<unsigned>(id), static_cast<unsigned>(threads));
}
inline void barrier_arrive(int id, int threads) {
  __syncwarp();
  emulator::barrier_arrive(static_cast<unsigned>(id), static_cast<unsigned>(threads));
}

}  // namespace seesaw::ptx
