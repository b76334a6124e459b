// Programmatic dependent launch: a grid that starts before the one before it in the stream has
// ended. PTX ISA 9.0, section "Parallel Synchronization and Communication Instructions:
// griddepcontrol" (sm_90 and later; below, a grid always starts after the one before it, and these
// are nothing).
#pragma once

namespace seesaw::ptx {

// Returns once all grids that this one was launched to depend on have completed and their writes
// are visible; at once if there are none.
__device__ __forceinline__ void wait_for_previous_grid() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Lets the next grid of the stream start early if it was launched to; it still has to wait for this
// one before it reads this one's results.
__device__ __forceinline__ void release_next_grid() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

}  // namespace seesaw::ptx
