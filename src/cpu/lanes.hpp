// Vectors of 64 bytes in the notation that GCC and Clang share. One source serves every target
// region that includes it: whole registers under AVX-512, parts of them elsewhere. Nothing is
// called across regions, so everything here is inlined or local to its file.
#pragma once

#include <cstdint>
#include <cstring>

#include "cpu/exp2.hpp"

namespace seesaw::cpu {
namespace {

constexpr int kLanes = 16;

using Floats [[gnu::vector_size(64)]] = float;
using Words [[gnu::vector_size(64)]] = uint32_t;
using Signed [[gnu::vector_size(64)]] = int32_t;
using Halves [[gnu::vector_size(64)]] = uint16_t;

template <typename V>
[[gnu::always_inline]] inline V load(const void* from) {
  V value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

template <typename V>
[[gnu::always_inline]] inline void store(V value, void* to) {
  std::memcpy(to, &value, sizeof(value));
}

[[gnu::always_inline]] inline Floats all(float value) { return Floats{} + value; }

// a0 b0 a1 b1 ... of the lower and of the upper halves of two vectors.
[[gnu::always_inline]] inline Words interleave_low(Words a, Words b) {
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
[[gnu::always_inline]] inline Words interleave_high(Words a, Words b) {
  return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15,
                                 31);
}
[[gnu::always_inline]] inline Halves interleave_low(Halves a, Halves b) {
  return __builtin_shufflevector(a, b, 0, 32, 1, 33, 2, 34, 3, 35, 4, 36, 5, 37, 6, 38, 7, 39, 8,
                                 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47);
}
[[gnu::always_inline]] inline Halves interleave_high(Halves a, Halves b) {
  return __builtin_shufflevector(a, b, 16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53, 22, 54, 23,
                                 55, 24, 56, 25, 57, 26, 58, 27, 59, 28, 60, 29, 61, 30, 62, 31,
                                 63);
}

// 16 rows of 16 words become 16 columns. Interleaving row i with row i + 8 moves the top bit of a
// row's number below the column's: four rounds exchange the four bits of each.
[[gnu::always_inline]] inline void transpose(Words (&rows)[16]) {
#pragma GCC unroll 4
  for (int round = 0; round < 4; ++round) {
    Words next[16];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      next[2 * i] = interleave_low(rows[i], rows[i + 8]);
      next[2 * i + 1] = interleave_high(rows[i], rows[i + 8]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      rows[i] = next[i];
    }
  }
}

// 2^x by exp2.hpp for x <= 127; NaN stays. Below the least normal exponent: 0.
[[gnu::always_inline]] inline Floats exp2_of(Floats x) {
  constexpr float kRound = 0x1.8p23F;  // what is added to it loses its fraction, to nearest even
  const Floats shifted = x + kRound;
  const Floats f = x - (shifted - kRound);
  Floats p = all(kExp2Coefficients[0]);
#pragma GCC unroll 8
  for (int i = 1; i < kExp2Terms; ++i) {
    p = p * f + kExp2Coefficients[i];
  }
  // The integer is the low bits of `shifted`; all others leave at the top.
  const Words exponent = (reinterpret_cast<Words>(shifted) << 23) + (uint32_t{127} << 23);
  return x < -126.0F ? Floats{} : p * reinterpret_cast<Floats>(exponent);
}

// Bits of the nearest bfloat16, ties to even, in the upper half of each word. NaN stays if a
// bfloat16 can hold its payload, as all that come from bfloat16 and from arithmetic do.
[[gnu::always_inline]] inline Words round_to_bf16(Floats value) {
  const Words bits = reinterpret_cast<Words>(value);
  return bits + 0x7FFFU + ((bits >> 16) & 1U);
}

// Two vectors, rounded, as one of pairs: `even` in the low halves.
[[gnu::always_inline]] inline Words pair_of(Floats even, Floats odd) {
  return (round_to_bf16(even) >> 16) | (round_to_bf16(odd) & 0xFFFF0000U);
}

}  // namespace
}  // namespace seesaw::cpu
