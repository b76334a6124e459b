// Registers: who has how many, and what the compiler may assume of them. PTX ISA 9.0, section
// "Miscellaneous Instructions: setmaxnreg".
#pragma once

namespace seesaw::ptx {

// Hides a value's origin from the compiler, so that what is derived from it is computed where it is
// used instead of being hoisted out of the loop and spilled (ptxas 13.0.88: 660-1030 B of spills
// from hoisted wgmma descriptors). Emits no instruction. Drop it when a later ptxas rematerialises.
template <typename T>
__device__ __forceinline__ T opaque(T value) {
  asm volatile("" : "+r"(value));
  return value;
}

// Changes how many registers a thread of the warpgroup has; all its warps call it.
template <int kRegisters>
__device__ __forceinline__ void raise_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ __forceinline__ void lower_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

// threadIdx.x, read anew: what is computed from it is computed anew too, and not kept in registers.
__device__ __forceinline__ int thread_index() {
  int index;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(index));
  return index;
}

}  // namespace seesaw::ptx
