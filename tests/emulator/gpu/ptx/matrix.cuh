// The emulator's side of src/gpu/ptx/matrix.cuh. Lane 8m + r gives the address of row r of matrix
// m; lane l has, of each matrix, columns 2 (l % 4) and the next of row l / 4, or if it is
// transposed, rows 2 (l % 4) and the next of column l / 4.
#pragma once

#include <cuda_runtime.h>

namespace seesaw::ptx {

inline unsigned char* emulated_pair(const emulator::ExchangeView& rows, unsigned matrix) {
  const unsigned lane = threadIdx.x % 32;
  const auto row = emulated_lane_value<uint32_t>(rows, matrix * 8 + lane / 4);
  if (row % 16 != 0) emulator::fault("a matrix row at no multiple of 16 bytes");
  return emulator::shared_at(row + lane % 4 * 4, 4);
}

// Element i = 0 or 1 of the lane's two of a matrix that is transposed.
inline unsigned char* emulated_transposed(const emulator::ExchangeView& rows, unsigned matrix,
                                          unsigned i) {
  const unsigned lane = threadIdx.x % 32;
  const auto row = emulated_lane_value<uint32_t>(rows, matrix * 8 + lane % 4 * 2 + i);
  if (row % 16 != 0) emulator::fault("a matrix row at no multiple of 16 bytes");
  return emulator::shared_at(row + lane / 4 * 2, 2);
}

inline void load_matrix(uint32_t* fragment, uint32_t address) {
  const auto rows = emulated_exchange(~0U, address);
  for (unsigned m = 0; m < 4; ++m) std::memcpy(&fragment[m], emulated_pair(rows, m), 4);
}
inline void load_matrix_transposed(uint32_t* fragment, uint32_t address) {
  const auto rows = emulated_exchange(~0U, address);
  for (unsigned m = 0; m < 4; ++m) {
    uint16_t pair[2];
    for (unsigned i = 0; i < 2; ++i) std::memcpy(&pair[i], emulated_transposed(rows, m, i), 2);
    std::memcpy(&fragment[m], pair, 4);
  }
}
inline void store_matrix(uint32_t address, const uint32_t* fragment) {
  const auto rows = emulated_exchange(~0U, address);
  for (unsigned m = 0; m < 4; ++m) std::memcpy(emulated_pair(rows, m), &fragment[m], 4);
  emulator::note_write(address, 16);
}

inline void store_matrix_transposed(uint32_t address, const uint32_t* fragment) {
  const auto rows = emulated_exchange(~0U, address);
  for (unsigned m = 0; m < 4; ++m) {
    uint16_t pair[2];
    std::memcpy(pair, &fragment[m], 4);
    for (unsigned i = 0; i < 2; ++i) std::memcpy(emulated_transposed(rows, m, i), &pair[i], 2);
  }
  emulator::note_write(address, 16);
}
inline uint32_t transpose_matrix(uint32_t fragment) {
  const auto pairs = emulated_exchange(~0U, fragment);
  const unsigned lane = threadIdx.x % 32;
  uint32_t transposed = 0;
  for (unsigned i = 0; i < 2; ++i) {
    const auto pair = emulated_lane_value<uint32_t>(pairs, (lane % 4 * 2 + i) * 4 + lane / 8);
    transposed |= (pair >> (lane / 4 % 2 * 16) & 0xFFFFU) << (16 * i);
  }
  return transposed;
}

}  // namespace seesaw::ptx
