// Matrix products of a warp. PTX ISA 9.0, section "Warp Level Matrix Instructions: mma",
// "Matrix Fragments for mma.m16n8k16 with floating point type".
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace seesaw::ptx {

// c [16 x 8] += a [16 x 16] b [16 x 8], float accumulators. Of lane 4g + q:
//   c  rows g, g, g + 8, g + 8, columns 2q, 2q + 1
//   a  pairs from (g, 2q), (g + 8, 2q), (g, 2q + 8), (g + 8, 2q + 8)
//   b  pairs down from rows 2q and 2q + 8 of column g
template <typename T>
__device__ __forceinline__ void mma(float* c, const uint32_t* a, uint32_t b0, uint32_t b1);

#define SEESAW_DEFINE_MMA(T, TYPE)                                                                \
  template <>                                                                                     \
  __device__ __forceinline__ void mma<T>(float* c, const uint32_t* a, uint32_t b0, uint32_t b1) { \
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." TYPE "." TYPE                           \
                 ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"           \
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                                 \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));                 \
  }
SEESAW_DEFINE_MMA(__nv_bfloat16, "bf16")
SEESAW_DEFINE_MMA(__half, "f16")
#undef SEESAW_DEFINE_MMA

}  // namespace seesaw::ptx
