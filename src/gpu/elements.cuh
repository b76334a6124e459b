// Elements of the plain types, to float and back with the bits that base/float16.hpp gives on the
// CPU, also of NaNs: the hardware's conversions make all of those one.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <cstring>

#include "base/float8.hpp"

namespace seesaw::gpu {

template <typename T>
__device__ inline uint32_t bits_of_16(T value) {
  static_assert(sizeof(T) == 2);
  uint16_t bits;
  memcpy(&bits, &value, sizeof(bits));
  return bits;
}

template <typename T>
__device__ inline T from_bits_16(uint32_t bits) {
  static_assert(sizeof(T) == 2);
  const auto low = static_cast<uint16_t>(bits);
  T value;
  memcpy(&value, &low, sizeof(value));
  return value;
}

__device__ inline float float_from(float value) { return value; }
__device__ inline float float_from(__nv_bfloat16 value) {
  return float_of(bits_of_16(value) << 16);
}
__device__ inline float float_from(__half value) {
  const uint32_t bits = bits_of_16(value);
  const bool finite = (bits & 0x7C00u) != 0x7C00u;
  return finite ? static_cast<float>(value)
                : float_of((bits & 0x8000u) << 16 | float8::kInfinity | (bits & 0x3FFu) << 13);
}

// Rounded to nearest even.
template <typename T>
__device__ inline T rounded(float value);
template <>
__device__ inline float rounded<float>(float value) {
  return value;
}
template <>
__device__ inline __nv_bfloat16 rounded<__nv_bfloat16>(float value) {
  const uint32_t bits = bits_of(value);
  const uint32_t up = bits + 0x7FFFu + ((bits >> 16) & 1u);
  return from_bits_16<__nv_bfloat16>(float8::is_nan(value) ? bits >> 16 | 0x40u : up >> 16);
}
template <>
__device__ inline __half rounded<__half>(float value) {
  return float8::is_nan(value) ? from_bits_16<__half>((bits_of(value) >> 16 & 0x8000u) | 0x7E00u)
                               : __half(value);
}

// kCount neighbouring elements of a row, read and written at once.
template <typename T, int kCount>
struct alignas(sizeof(T) * kCount) Elements {
  T element[kCount];
};

}  // namespace seesaw::gpu
