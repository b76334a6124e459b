// Thin wrappers of the PTX instructions that the Hopper kernels use. Each names the section of the
// "Parallel Thread Execution ISA" (version 9.0, CUDA 13.0) that defines it. Nothing here knows of
// attention.
#pragma once

#include <cuda.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace seesaw::ptx {

// ---- addresses and scheduling hints

// Section "Data Movement and Conversion Instructions: cvta": generic to shared window.
__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// Hides a value's origin from the compiler, so that what is derived from it is computed where it is
// used instead of being hoisted out of the loop and spilled (ptxas 13.0.88: 660-1030 B of spills
// from hoisted wgmma descriptors). Emits no instruction. Drop it when a later ptxas rematerialises.
template <typename T>
__device__ __forceinline__ T opaque(T value) {
  asm volatile("" : "+r"(value));
  return value;
}

// Keeps reads and writes of accumulators on this side of an asynchronous wgmma's completion.
template <int N>
__device__ __forceinline__ void pin(float (&registers)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) {
    asm volatile("" : "+f"(registers[i])::"memory");
  }
}

// Section "Miscellaneous Instructions: setmaxnreg".
template <int kRegisters>
__device__ __forceinline__ void raise_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ __forceinline__ void lower_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

// ---- dependent launches. Section "Parallel Synchronization and Communication Instructions:
// griddepcontrol".

// Returns once all grids that this one was launched to depend on have completed and their writes
// are visible; at once if there are none.
__device__ __forceinline__ void wait_for_previous_grid() {
  asm volatile("griddepcontrol.wait;" ::: "memory");
}
// Lets the next grid of the stream start early if it was launched to; it still has to wait for this
// one before it reads this one's results.
__device__ __forceinline__ void release_next_grid() {
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

// ---- barriers

// Section "bar, barrier": named barrier `id`, `threads` in total arriving or waiting. The
// instructions count warps and must be met by whole ones: a warp that a wait or a branch has left
// diverged would count twice.
__device__ __forceinline__ void barrier_sync(int id, int threads) {
  __syncwarp();
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ __forceinline__ void barrier_arrive(int id, int threads) {
  __syncwarp();
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// Sections "mbarrier.init", "mbarrier.arrive", "mbarrier.try_wait".
__device__ __forceinline__ void mbarrier_init(uint32_t barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
// Makes initialised barriers visible to the asynchronous proxy. Section "membar, fence".
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

// The same by a whole warp, which is converged again afterwards: its lanes leave the loop one by
// one.
__device__ __forceinline__ void mbarrier_wait_warp(uint32_t barrier, uint32_t parity) {
  mbarrier_wait(barrier, parity);
  __syncwarp();
}

// Orders this thread's ordinary writes to shared memory before later asynchronous reads of them
// (wgmma operands, bulk copies) that a barrier puts after it. Section "membar, fence": proxy fence.
__device__ __forceinline__ void fence_async_proxy() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// ---- copies

// Section "cp.async": 16 bytes from global to shared memory; zeros if `valid` is false, and then
// nothing is read.
__device__ __forceinline__ void copy_async_16(uint32_t destination, const void* source,
                                              bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(destination), "l"(source),
               "r"(valid ? 16 : 0)
               : "memory");
}
// Section "cp.async.wait_all".
__device__ __forceinline__ void copy_async_wait_all() {
  asm volatile("cp.async.wait_all;" ::: "memory");
}

// Section "prefetch, prefetchu": brings a tensor map into the cache.
__device__ __forceinline__ void prefetch_tensor_map(const CUtensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

// L2 policies, as createpolicy.fractional makes them at fraction 1.0 (section "createpolicy").
inline constexpr uint64_t kEvictFirst = 0x12F0000000000000ull;   // read once
inline constexpr uint64_t kEvictNormal = 0x1000000000000000ull;  // the default

// Coordinates of a box in a rank-5 tensor map, innermost first.
struct BoxAt {
  int32_t c0, c1, c2, c3, c4;
};
// Section "cp.async.bulk.tensor": one box, completing on `barrier`.
template <uint64_t kCachePolicy>
__device__ __forceinline__ void copy_box(uint32_t destination, const CUtensorMap* map,
                                         uint32_t barrier, const BoxAt& at) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
      ".L2::cache_hint [%0], [%1, {%2, %3, %4, %5, %6}], [%7], %8;" ::"r"(destination),
      "l"(map), "r"(at.c0), "r"(at.c1), "r"(at.c2), "r"(at.c3), "r"(at.c4), "r"(barrier),
      "l"(kCachePolicy)
      : "memory");
}

// Section "ldmatrix": four 8x8 matrices of 16-bit elements.
__device__ __forceinline__ void load_matrix(uint32_t* fragment, uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(address)
               : "memory");
}
// Section "stmatrix".
__device__ __forceinline__ void store_matrix(uint32_t address, const uint32_t* fragment) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address),
               "r"(fragment[0]), "r"(fragment[1]), "r"(fragment[2]), "r"(fragment[3])
               : "memory");
}
// 16 bytes of shared memory by address. Sections "ld", "st".
__device__ __forceinline__ uint4 load_shared_16(uint32_t address) {
  uint4 v;
  asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "r"(address)
               : "memory");
  return v;
}
__device__ __forceinline__ void store_shared_16(uint32_t address, uint4 v) {
  asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(v.x), "r"(v.y),
               "r"(v.z), "r"(v.w)
               : "memory");
}

__device__ __forceinline__ void store_shared_2(uint32_t address, uint16_t v) {
  asm volatile("st.shared.b16 [%0], %1;" ::"r"(address), "h"(v) : "memory");
}

// ---- arithmetic

// 2^x, subnormal results flushed to 0. Section "ex2".
__device__ __forceinline__ float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Two floats rounded to nearest even and packed, `low` in the low half. Section "cvt".
template <typename T>
__device__ __forceinline__ uint32_t pack(float low, float high);
template <>
__device__ __forceinline__ uint32_t pack<__nv_bfloat16>(float low, float high) {
  uint32_t r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}
template <>
__device__ __forceinline__ uint32_t pack<__half>(float low, float high) {
  uint32_t r;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}

// ---- wgmma. Section "Asynchronous Warpgroup Level Matrix Instructions".

__device__ __forceinline__ void wgmma_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// Until at most kPending of this warpgroup's groups are under way.
template <int kPending>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// Matrix descriptors (subsection "Shared Memory Matrix Layout"), 128-byte swizzle, tiles of 64 rows
// x 128 bytes aligned to 1024. Only the low word varies: address >> 4 in bits 0-13, leading byte
// offset >> 4 in bits 16-29. The high word is the same for both majors: 1024 bytes between groups
// of 8 rows, swizzle mode 1. The wrappers take low words only, which halves the registers.
inline constexpr uint32_t kDescriptorHigh = 0x40000040u;
// One k step (16 elements) in units of 16 bytes: along a K-major row, down an MN-major tile.
inline constexpr uint32_t kStepKMajor = 2;
inline constexpr uint32_t kStepMnMajor = 128;

__device__ __forceinline__ uint32_t descriptor_k_major(uint32_t address) {
  return (1u << 16) | ((address & 0x3FFFFu) >> 4);
}
// `tile_stride`: bytes from one 64-column tile to the next.
__device__ __forceinline__ uint32_t descriptor_mn_major(uint32_t address, uint32_t tile_stride) {
  return ((tile_stride >> 4) << 16) | ((address & 0x3FFFFu) >> 4);
}

// Operand lists of 32 and 128 accumulator registers.
#define SEESAW_TEN(p) \
  "%" #p "0,%" #p "1,%" #p "2,%" #p "3,%" #p "4,%" #p "5,%" #p "6,%" #p "7,%" #p "8,%" #p "9"
#define SEESAW_OPERANDS_32 SEESAW_TEN() "," SEESAW_TEN(1) "," SEESAW_TEN(2) ",%30,%31"
#define SEESAW_OPERANDS_128 \
  SEESAW_TEN() "," SEESAW_TEN(1) "," SEESAW_TEN(2) "," SEESAW_TEN(3) "," SEESAW_TEN(4) ","     \
  SEESAW_TEN(5) "," SEESAW_TEN(6) "," SEESAW_TEN(7) "," SEESAW_TEN(8) "," SEESAW_TEN(9) ","    \
  SEESAW_TEN(10) "," SEESAW_TEN(11) ",%120,%121,%122,%123,%124,%125,%126,%127"
#define SEESAW_F4(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define SEESAW_F16(d, i) \
  SEESAW_F4(d, i), SEESAW_F4(d, i + 4), SEESAW_F4(d, i + 8), SEESAW_F4(d, i + 12)
#define SEESAW_F32(d) SEESAW_F16(d, 0), SEESAW_F16(d, 16)
#define SEESAW_F128(d)                                                                       \
  SEESAW_F32(d), SEESAW_F16(d, 32), SEESAW_F16(d, 48), SEESAW_F16(d, 64), SEESAW_F16(d, 80), \
      SEESAW_F16(d, 96), SEESAW_F16(d, 112)

// d [64 x N] = a [64 x 16] b [16 x N] (+ d if accumulate), float accumulators.
//   ss: both operands in shared memory; rs: a in registers.
template <typename T, int N>
struct Wgmma;

// B_MAJOR: 0 = K-major, 1 = MN-major (transposed read). O0..O4: the operands after the registers.
#define SEESAW_DEFINE_WGMMA(T, TYPE, N, REGISTERS, OPERANDS, BINDINGS, B_MAJOR, O0, O1, O2, O3,    \
                            O4, O5)                                                                \
  template <>                                                                                      \
  struct Wgmma<T, N> {                                                                             \
    static __device__ __forceinline__ void ss(float (&d)[REGISTERS], uint32_t a, uint32_t b,       \
                                              bool accumulate) {                                   \
      asm volatile("{ .reg .pred p; .reg .b64 x, y; setp.ne.b32 p, " O2 ", 0; mov.b64 x, {" O0     \
                   ", " O3 "}; mov.b64 y, {" O1 ", " O3 "};\nwgmma.mma_async.sync.aligned.m64n" #N \
                   "k16.f32." TYPE "." TYPE " {" OPERANDS "}, x, y, p, 1, 1, 0, " #B_MAJOR "; }"   \
                   : BINDINGS(d)                                                                   \
                   : "r"(a), "r"(b), "r"(static_cast<int>(accumulate)), "n"(kDescriptorHigh));     \
    }                                                                                              \
    static __device__ __forceinline__ void rs(float (&d)[REGISTERS], const uint32_t* a,            \
                                              uint32_t b, bool accumulate) {                       \
      asm volatile("{ .reg .pred p; .reg .b64 y; setp.ne.b32 p, " O5 ", 0; mov.b64 y, {" O4        \
                   ", 0x40000040};\nwgmma.mma_async.sync.aligned.m64n" #N "k16.f32." TYPE "." TYPE \
                   " {" OPERANDS "}, {" O0 "," O1 "," O2 "," O3 "}, y, p, 1, 1, " #B_MAJOR "; }"   \
                   : BINDINGS(d)                                                                   \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b),                           \
                     "r"(static_cast<int>(accumulate)));                                           \
    }                                                                                              \
  };
// Scores: N = 64 tokens, K-major. Values: N = 256 columns, MN-major.
#define SEESAW_DEFINE_WGMMA_TYPE(T, TYPE)                                                      \
  SEESAW_DEFINE_WGMMA(T, TYPE, 64, 32, SEESAW_OPERANDS_32, SEESAW_F32, 0, "%32", "%33", "%34", \
                      "%35", "%36", "%37")                                                     \
  SEESAW_DEFINE_WGMMA(T, TYPE, 256, 128, SEESAW_OPERANDS_128, SEESAW_F128, 1, "%128", "%129",  \
                      "%130", "%131", "%132", "%133")
SEESAW_DEFINE_WGMMA_TYPE(__nv_bfloat16, "bf16")
SEESAW_DEFINE_WGMMA_TYPE(__half, "f16")

#undef SEESAW_DEFINE_WGMMA_TYPE
#undef SEESAW_DEFINE_WGMMA
#undef SEESAW_F128
#undef SEESAW_F32
#undef SEESAW_F16
#undef SEESAW_F4
#undef SEESAW_OPERANDS_128
#undef SEESAW_OPERANDS_32
#undef SEESAW_TEN

}  // namespace seesaw::ptx
