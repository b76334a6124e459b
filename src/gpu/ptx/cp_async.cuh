// Copies by the threads themselves. PTX ISA 9.0, sections "cp.async", "cp.async.commit_group",
// "cp.async.wait_group / cp.async.wait_all", "cp.async.mbarrier.arrive".
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
// The same if it is `wanted`: without a branch.
__device__ __forceinline__ void copy_async_16_if(bool wanted, uint32_t destination,
                                                 const void* source, bool valid) {
  asm volatile(
      "{.reg .pred p; setp.ne.b32 p, %0, 0; @p cp.async.cg.shared.global [%1], [%2], 16, %3;}" ::
          "r"(static_cast<int>(wanted)),
      "r"(destination), "l"(source), "r"(valid ? 16 : 0)
      : "memory");
}
// 4 bytes; zeros if `valid` is false.
__device__ __forceinline__ void copy_async_4(uint32_t destination, const void* source, bool valid) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(destination), "l"(source),
               "r"(valid ? 4 : 0)
               : "memory");
}
// Ends a group: the thread's copies since the last one, perhaps none.
__device__ __forceinline__ void copy_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
// Until at most kPending of the thread's groups are under way.
template <int kPending>
__device__ __forceinline__ void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}
__device__ __forceinline__ void copy_async_wait_all() {
  asm volatile("cp.async.wait_all;" ::: "memory");
}

// Arrives at an mbarrier, which counts on it, when all copies that the thread has asked for have
// landed. Asynchronous itself.
__device__ __forceinline__ void copy_async_arrive(uint32_t barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
}

}  // namespace seesaw::ptx
