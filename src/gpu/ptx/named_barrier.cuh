// Named barriers. PTX ISA 9.0, section "Parallel Synchronization and Communication Instructions:
// bar, barrier". A thread block has 16; number 0 is __syncthreads.
#pragma once

namespace seesaw::ptx {

// Barrier `id`, `threads` in total arriving or waiting. The instructions count warps and must be
// met by whole ones: a warp that a wait or a branch has left diverged would count twice.
__device__ __forceinline__ void barrier_sync(int id, int threads) {
  __syncwarp();
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ __forceinline__ void barrier_arrive(int id, int threads) {
  __syncwarp();
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

}  // namespace seesaw::ptx
