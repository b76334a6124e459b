// Matrix products of a warpgroup. PTX ISA 9.0, section "Asynchronous Warpgroup Level Matrix
// Instructions".
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace seesaw::ptx {

// Keeps reads and writes of accumulators on this side of an asynchronous wgmma's completion.
template <int N>
__device__ __forceinline__ void pin(float (&registers)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) {
    asm volatile("" : "+f"(registers[i])::"memory");
  }
}

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
// Without swizzle, K-major: 8 rows x 16 bytes lie together, the next 16 bytes of the rows 128 bytes
// further, the next 8 rows 256. The high word of such an operand is kPlainHigh.
inline constexpr uint32_t kPlainHigh = 256 >> 4;
__device__ __forceinline__ uint32_t descriptor_plain(uint32_t address) {
  return ((128u >> 4) << 16) | ((address & 0x3FFFFu) >> 4);
}
// `tile_stride`: bytes from one 64-column tile to the next.
__device__ __forceinline__ uint32_t descriptor_mn_major(uint32_t address, uint32_t tile_stride) {
  return ((tile_stride >> 4) << 16) | ((address & 0x3FFFFu) >> 4);
}

// Operand lists of 8, 16, 32, 64 and 128 accumulator registers.
#define SEESAW_TEN(p) \
  "%" #p "0,%" #p "1,%" #p "2,%" #p "3,%" #p "4,%" #p "5,%" #p "6,%" #p "7,%" #p "8,%" #p "9"
#define SEESAW_OPERANDS_8 "%0,%1,%2,%3,%4,%5,%6,%7"
#define SEESAW_OPERANDS_16 SEESAW_TEN() ",%10,%11,%12,%13,%14,%15"
#define SEESAW_OPERANDS_32 SEESAW_TEN() "," SEESAW_TEN(1) "," SEESAW_TEN(2) ",%30,%31"
#define SEESAW_OPERANDS_64                                                                \
  SEESAW_TEN()                                                                            \
  "," SEESAW_TEN(1) "," SEESAW_TEN(2) "," SEESAW_TEN(3) "," SEESAW_TEN(4) "," SEESAW_TEN( \
      5) ",%60,%61,%62,%63"
#define SEESAW_OPERANDS_128 \
  SEESAW_TEN() "," SEESAW_TEN(1) "," SEESAW_TEN(2) "," SEESAW_TEN(3) "," SEESAW_TEN(4) ","     \
  SEESAW_TEN(5) "," SEESAW_TEN(6) "," SEESAW_TEN(7) "," SEESAW_TEN(8) "," SEESAW_TEN(9) ","    \
  SEESAW_TEN(10) "," SEESAW_TEN(11) ",%120,%121,%122,%123,%124,%125,%126,%127"
#define SEESAW_F4(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define SEESAW_F8(d) SEESAW_F4(d, 0), SEESAW_F4(d, 4)
#define SEESAW_F16(d, i) \
  SEESAW_F4(d, i), SEESAW_F4(d, i + 4), SEESAW_F4(d, i + 8), SEESAW_F4(d, i + 12)
#define SEESAW_F32(d) SEESAW_F16(d, 0), SEESAW_F16(d, 16)
#define SEESAW_F64(d) SEESAW_F32(d), SEESAW_F16(d, 32), SEESAW_F16(d, 48)
#define SEESAW_F128(d)                                                                       \
  SEESAW_F32(d), SEESAW_F16(d, 32), SEESAW_F16(d, 48), SEESAW_F16(d, 64), SEESAW_F16(d, 80), \
      SEESAW_F16(d, 96), SEESAW_F16(d, 112)

// d [64 x N] = a [64 x 16] b [16 x N] (+ d if accumulate), float accumulators.
//   ss: both operands in shared memory, a's descriptor with the high word kHighA; rs: a in
//   registers.
template <typename T, int N>
struct Wgmma;

// How an operand in shared memory lies: k runs along a row of 128 bytes, or from row to row.
enum class Major : int { kK = 0, kMn = 1 };

// B_MAJOR: 0 = K-major, 1 = MN-major (transposed read). O0..O4: the operands after the registers.
#define SEESAW_DEFINE_WGMMA(T, TYPE, N, REGISTERS, OPERANDS, BINDINGS, B_MAJOR, O0, O1, O2, O3,    \
                            O4, O5)                                                                \
  template <>                                                                                      \
  struct Wgmma<T, N> {                                                                             \
    template <uint32_t kHighA = kDescriptorHigh>                                                   \
    static __device__ __forceinline__ void ss(float (&d)[REGISTERS], uint32_t a, uint32_t b,       \
                                              bool accumulate) {                                   \
      asm volatile("{ .reg .pred p; .reg .b64 x, y; setp.ne.b32 p, " O2 ", 0; mov.b64 x, {" O0     \
                   ", " O3 "}; mov.b64 y, {" O1 ", " O4 "};\nwgmma.mma_async.sync.aligned.m64n" #N \
                   "k16.f32." TYPE "." TYPE " {" OPERANDS "}, x, y, p, 1, 1, 0, " #B_MAJOR "; }"   \
                   : BINDINGS(d)                                                                   \
                   : "r"(a), "r"(b), "r"(static_cast<int>(accumulate)), "n"(kHighA),               \
                     "n"(kDescriptorHigh));                                                        \
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
// Scores: N = 64 tokens, K-major. Values: N = 128 or 256 columns, MN-major.
#define SEESAW_DEFINE_WGMMA_TYPE(T, TYPE)                                                       \
  SEESAW_DEFINE_WGMMA(T, TYPE, 64, 32, SEESAW_OPERANDS_32, SEESAW_F32, 0, "%32", "%33", "%34",  \
                      "%35", "%36", "%37")                                                      \
  SEESAW_DEFINE_WGMMA(T, TYPE, 128, 64, SEESAW_OPERANDS_64, SEESAW_F64, 1, "%64", "%65", "%66", \
                      "%67", "%68", "%69")                                                      \
  SEESAW_DEFINE_WGMMA(T, TYPE, 256, 128, SEESAW_OPERANDS_128, SEESAW_F128, 1, "%128", "%129",   \
                      "%130", "%131", "%132", "%133")
SEESAW_DEFINE_WGMMA_TYPE(__nv_bfloat16, "bf16")
SEESAW_DEFINE_WGMMA_TYPE(__half, "f16")

// N = 16 or 32 query rows, K-major: the keys or the values, transposed, are A.
#define SEESAW_DEFINE_WGMMA_FEW(T, TYPE, N, REGISTERS, OPERANDS, BINDINGS, O0, O1, O2, O3, O4)     \
  template <>                                                                                      \
  struct Wgmma<T, N> {                                                                             \
    template <Major kMajorOfA>                                                                     \
    static __device__ __forceinline__ void ss(float (&d)[REGISTERS], uint32_t a, uint32_t b,       \
                                              bool accumulate) {                                   \
      asm volatile("{ .reg .pred p; .reg .b64 x, y; setp.ne.b32 p, " O2 ", 0; mov.b64 x, {" O0     \
                   ", " O3 "}; mov.b64 y, {" O1 ", " O3 "};\nwgmma.mma_async.sync.aligned.m64n" #N \
                   "k16.f32." TYPE "." TYPE " {" OPERANDS "}, x, y, p, 1, 1, " O4 ", 0; }"         \
                   : BINDINGS                                                                      \
                   : "r"(a), "r"(b), "r"(static_cast<int>(accumulate)), "n"(kDescriptorHigh),      \
                     "n"(static_cast<int>(kMajorOfA)));                                            \
    }                                                                                              \
  };
#define SEESAW_DEFINE_WGMMA_FEW_TYPE(T, TYPE)                                                  \
  SEESAW_DEFINE_WGMMA_FEW(T, TYPE, 16, 8, SEESAW_OPERANDS_8, SEESAW_F8(d), "%8", "%9", "%10",  \
                          "%11", "%12")                                                        \
  SEESAW_DEFINE_WGMMA_FEW(T, TYPE, 32, 16, SEESAW_OPERANDS_16, SEESAW_F16(d, 0), "%16", "%17", \
                          "%18", "%19", "%20")
SEESAW_DEFINE_WGMMA_FEW_TYPE(__nv_bfloat16, "bf16")
SEESAW_DEFINE_WGMMA_FEW_TYPE(__half, "f16")

#undef SEESAW_DEFINE_WGMMA_FEW_TYPE
#undef SEESAW_DEFINE_WGMMA_FEW
#undef SEESAW_DEFINE_WGMMA_TYPE
#undef SEESAW_DEFINE_WGMMA
#undef SEESAW_F128
#undef SEESAW_F64
#undef SEESAW_F32
#undef SEESAW_F16
#undef SEESAW_F8
#undef SEESAW_F4
#undef SEESAW_OPERANDS_128
#undef SEESAW_OPERANDS_64
#undef SEESAW_OPERANDS_32
#undef SEESAW_OPERANDS_16
#undef SEESAW_OPERANDS_8
#undef SEESAW_TEN

}  // namespace seesaw::ptx
