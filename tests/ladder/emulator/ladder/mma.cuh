// The emulator's side of ladder/mma.cuh. Fragments are described there.
#pragma once

#include <cstdint>
#include <cstring>

#include "ladder/arithmetic.hpp"
#include "ladder/runtime.cuh"

namespace seesaw::ladder {

inline uint32_t word_of(const emulator::ExchangeView& view, int lane, int index) {
  uint32_t word;
  std::memcpy(&word, view.bytes + static_cast<size_t>(lane) * emulator::kExchangeBytes + 4 * index,
              sizeof(word));
  return word;
}

inline float half_of(uint32_t pair, int index) {
  return index == 0 ? low_half(pair) : high_half(pair);
}

// Each lane computes its four results from everybody's fragments.
inline void mma_16x8x16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  const uint32_t mine[6] = {a[0], a[1], a[2], a[3], b0, b1};
  const emulator::ExchangeView view = emulator::exchange(mine, sizeof(mine));
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (int i = 0; i < 4; ++i) {
    const int upper = i / 2;
    const int column = lane % 4 * 2 + i % 2;
    for (int k = 0; k < 16; ++k) {
      const int owner = k % 8 / 2;  // lane within the four that share a row or column
      const uint32_t a_pair = word_of(view, lane / 4 * 4 + owner, upper + k / 8 * 2);
      const uint32_t b_pair = word_of(view, column * 4 + owner, 4 + k / 8);
      d[i] += half_of(a_pair, k % 2) * half_of(b_pair, k % 2);
    }
  }
}

inline void load_rows(uint32_t (&m)[4], const void* row, bool transposed) {
  const emulator::ExchangeView view = emulator::exchange(&row, sizeof(row));
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (int i = 0; i < 4; ++i) {
    Bf16 pair[2];
    for (int e = 0; e < 2; ++e) {
      const int matrix_row = transposed ? lane % 4 * 2 + e : lane / 4;
      const int column = transposed ? lane / 4 : lane % 4 * 2 + e;
      const Bf16* source;
      std::memcpy(&source,
                  view.bytes + static_cast<size_t>(i * 8 + matrix_row) * emulator::kExchangeBytes,
                  sizeof(source));
      pair[e] = source[column];
    }
    std::memcpy(&m[i], pair, sizeof(pair));
  }
}

inline void load_matrices(uint32_t (&m)[4], const void* row) { load_rows(m, row, false); }
inline void load_matrices_transposed(uint32_t (&m)[4], const void* row) { load_rows(m, row, true); }

}  // namespace seesaw::ladder
