// Copies by the threads themselves. PTX ISA 9.0, sections "cp.async", "cp.async.wait_all".
#pragma once

#include <cstdint>

namespace seesaw::ptx {

// 16 bytes from global to shared memory; zeros if `valid` is false, and then
// nothing is read.
__device__ __forceinline__ void copy_async_16(uint32_t destination, const void* source,
                                              bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(destination), "l"(source),
               "r"(valid ? 16 : 0)
               : "memory");
}
__device__ __forceinline__ void copy_async_wait_all() {
  asm volatile("cp.async.wait_all;" ::: "memory");
}

}  // namespace seesaw::ptx
