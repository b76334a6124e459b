// Clocks. PTX ISA 9.0, sections "Special Registers: %clock64", "%globaltimer".
#pragma once

namespace seesaw::ptx {

// Cycles of this SM.
__device__ __forceinline__ unsigned long long clock_cycles() {
  unsigned long long value;
  asm volatile("mov.u64 %0, %%clock64;" : "=l"(value)::"memory");
  return value;
}
// Nanoseconds, the same for all SMs; moves in steps of up to a microsecond.
__device__ __forceinline__ unsigned long long time_ns() {
  unsigned long long value;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(value)::"memory");
  return value;
}

}  // namespace seesaw::ptx
