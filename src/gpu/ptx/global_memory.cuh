// Global memory. PTX ISA 9.0, section "ld".
#pragma once

#include <cstdint>

namespace seesaw::ptx {

// A load that stays where it is written: the compiler would move it behind a branch that often
// makes it superfluous, and its latency with it.
__device__ __forceinline__ int32_t load_now(const int32_t* from) {
  int32_t value;
  asm volatile("ld.global.b32 %0, [%1];" : "=r"(value) : "l"(from));
  return value;
}

__device__ __forceinline__ uint4 load_now(const uint4* from) {
  uint4 value;
  asm volatile("ld.global.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "l"(from));
  return value;
}

}  // namespace seesaw::ptx
