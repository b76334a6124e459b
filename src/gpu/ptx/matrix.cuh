// Matrix fragments between registers and shared memory. PTX ISA 9.0, sections "ldmatrix",
// "stmatrix", "movmatrix".
#pragma once

#include <cstdint>

namespace seesaw::ptx {

// Four 8x8 matrices of 16-bit elements.
__device__ __forceinline__ void load_matrix(uint32_t* fragment, uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(address)
               : "memory");
}
// The same, each transposed.
__device__ __forceinline__ void load_matrix_transposed(uint32_t* fragment, uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(address)
               : "memory");
}
__device__ __forceinline__ void store_matrix(uint32_t address, const uint32_t* fragment) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address),
               "r"(fragment[0]), "r"(fragment[1]), "r"(fragment[2]), "r"(fragment[3])
               : "memory");
}

// The same, each transposed.
__device__ __forceinline__ void store_matrix_transposed(uint32_t address,
                                                        const uint32_t* fragment) {
  asm volatile(
      "stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address),
      "r"(fragment[0]), "r"(fragment[1]), "r"(fragment[2]), "r"(fragment[3])
      : "memory");
}
// One 8x8 matrix, transposed among the lanes.
__device__ __forceinline__ uint32_t transpose_matrix(uint32_t fragment) {
  uint32_t transposed;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(transposed) : "r"(fragment));
  return transposed;
}

}  // namespace seesaw::ptx
