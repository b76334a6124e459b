// Conversions to and from 8-bit floats. PTX ISA 9.0, section "cvt".
#pragma once

#include <cuda_fp16.h>

#include <cstdint>

#include "base/float8.hpp"
#include "gpu/ptx/arithmetic.cuh"

namespace seesaw::ptx {

// Two floats, neither NaN, as base's to_e4m3 has them, `low` in the low byte. One instruction from
// sm_89.
__device__ __forceinline__ uint32_t pack_e4m3(float low, float high) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
  uint16_t pair;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(high), "f"(low));
  return pair;
#else
  return to_e4m3(low) | static_cast<uint32_t>(to_e4m3(high)) << 8;
#endif
}

// Four, the first in the lowest byte. Two instructions from sm_89.
__device__ __forceinline__ uint32_t pack_e4m3(float a, float b, float c, float d) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
  uint32_t word;
  asm("{\n"
      ".reg .b16 low, high;\n"
      "cvt.rn.satfinite.e4m3x2.f32 low, %2, %1;\n"
      "cvt.rn.satfinite.e4m3x2.f32 high, %4, %3;\n"
      "mov.b32 %0, {low, high};\n"
      "}"
      : "=r"(word)
      : "f"(a), "f"(b), "f"(c), "f"(d));
  return word;
#else
  return pack_e4m3(a, b) | pack_e4m3(c, d) << 16;
#endif
}

// Four e4m3 of a word, the lowest byte first, as floats: exact, and NaN stays NaN.
__device__ __forceinline__ float4 unpack_e4m3(uint32_t word) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
  uint32_t pairs[2];
  asm("{\n"
      ".reg .b16 low, high;\n"
      "mov.b32 {low, high}, %2;\n"
      "cvt.rn.f16x2.e4m3x2 %0, low;\n"
      "cvt.rn.f16x2.e4m3x2 %1, high;\n"
      "}"
      : "=r"(pairs[0]), "=r"(pairs[1])
      : "r"(word));
  const float2 low = unpack<__half>(pairs[0]);
  const float2 high = unpack<__half>(pairs[1]);
  return {low.x, low.y, high.x, high.y};
#else
  // An arithmetic shift puts exponent and fraction to where float32 has its own and leaves the sign
  // at the top; what it smeared over the rest of the exponent is cut off, and the difference in
  // bias multiplied in.
  const auto number = [&](int i) {
    const auto top = static_cast<int32_t>(word << (24 - 8 * i));
    return float_of(static_cast<uint32_t>(top >> 4) & 0x87F00000U) * 0x1p120F;
  };
  float4 values = {number(0), number(1), number(2), number(3)};
  const uint32_t nan = ((word & 0x7F7F7F7FU) + 0x01010101U) & 0x80808080U;  // 0x7F of 7 bits
  if (__builtin_expect(nan != 0, 0)) {
    const float none = float_of(float8::kNaN);
    if ((nan & 0x80U) != 0) values.x = none;
    if ((nan & 0x8000U) != 0) values.y = none;
    if ((nan & 0x800000U) != 0) values.z = none;
    if ((nan & 0x80000000U) != 0) values.w = none;
  }
  return values;
#endif
}

}  // namespace seesaw::ptx
