// The emulator's side of src/gpu/ptx/registers.cuh: there are as many registers as anybody likes.
#pragma once

namespace seesaw::ptx {

template <typename T>
T opaque(T value) {
  return value;
}
template <int kRegisters>
void raise_registers() {}
template <int kRegisters>
void lower_registers() {}

// threadIdx.x, read anew: what is computed from it is computed anew too, and not kept in registers.
__device__ __forceinline__ int thread_index() { return static_cast<int>(threadIdx.x); }

}  // namespace seesaw::ptx
