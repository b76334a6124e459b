// Barriers in shared memory that asynchronous copies can complete, and the fences around them. PTX
// ISA 9.0, sections "mbarrier.init", "mbarrier.arrive", "mbarrier.test_wait / mbarrier.try_wait",
// "membar, fence".
#pragma once

#include <cstdint>

namespace seesaw::ptx {

__device__ __forceinline__ void mbarrier_init(uint32_t barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
// Makes initialised barriers visible to the asynchronous proxy.
__device__ __forceinline__ void fence_mbarrier_init() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ __forceinline__ void mbarrier_arrive(uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
// Arrives and announces `bytes` of asynchronous copies that complete on the barrier.
__device__ __forceinline__ void mbarrier_arrive_expect(uint32_t barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}
// Waits until the phase of parity `parity` has completed. Bounded: what it waits for takes
// microseconds, so after 2^22 tries something is broken, and a trap (an error that the caller
// sees) is better than a hang. Without a suspend-time hint: with one, ptxas puts NANOSLEEP between
// two tries, and waking up costs hundreds of cycles.
__device__ __forceinline__ void mbarrier_wait(uint32_t barrier, uint32_t parity) {
  asm volatile(
      "{ .reg .pred done; .reg .b32 tries; mov.b32 tries, 0;\n"
      "TRY: mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@done bra DONE;\n"
      "add.u32 tries, tries, 1; setp.lt.u32 done, tries, 4194304; @done bra TRY; trap;\n"
      "DONE: }" ::"r"(barrier),
      "r"(parity)
      : "memory");
}

// Whether that phase has completed.
__device__ __forceinline__ bool mbarrier_test(uint32_t barrier, uint32_t parity) {
  uint32_t done;
  asm volatile(
      "{ .reg .pred done; mbarrier.test_wait.parity.shared::cta.b64 done, [%1], %2;\n"
      "selp.b32 %0, 1, 0, done; }"
      : "=r"(done)
      : "r"(barrier), "r"(parity)
      : "memory");
  return done != 0;
}

// The wait by a whole warp, which is converged again afterwards: its lanes leave the loop one by
// one.
__device__ __forceinline__ void mbarrier_wait_warp(uint32_t barrier, uint32_t parity) {
  mbarrier_wait(barrier, parity);
  __syncwarp();
}

// Orders this thread's ordinary writes to shared memory before later asynchronous reads of them
// (wgmma operands, bulk copies) that a barrier puts after it.
__device__ __forceinline__ void fence_async_proxy() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

}  // namespace seesaw::ptx
