// The tensor-core instructions of rungs 6 and 8, per warp (PTX ISA, "Warp Level Matrix
// Instructions": mma, ldmatrix). tests/ladder/emulator has a file of the same name for the CPU.
//
// Fragments, with g = lane / 4 and q = lane % 4:
//   D [16 x 8]   d[0], d[1]: row g, columns 2q, 2q + 1;  d[2], d[3]: row g + 8
//   A [16 x 16]  a[0]: row g, columns 2q, 2q + 1;  a[1]: row g + 8;  a[2], a[3]: columns + 8
//   B [16 x 8]   b0: rows 2q, 2q + 1 of column g;  b1: rows + 8
#pragma once

#include <cstdint>

namespace seesaw::ladder {

// d += a b, bfloat16 products, float sums.
__device__ __forceinline__ void mma_16x8x16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                            uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four 8x8 matrices from shared memory. Lane l points at row l % 8 of matrix l / 8 (16 bytes);
// afterwards lane l holds, of each matrix, columns 2q and 2q + 1 of row g.
__device__ __forceinline__ void load_matrices(uint32_t (&m)[4], const void* row) {
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
               : "r"(address)
               : "memory");
}

// The same, each matrix transposed: lane l holds rows 2q and 2q + 1 of column g.
__device__ __forceinline__ void load_matrices_transposed(uint32_t (&m)[4], const void* row) {
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
               : "r"(address)
               : "memory");
}

}  // namespace seesaw::ladder
