// Conversions of 8-bit floats. PTX ISA 9.0, section "cvt".
#pragma once

#include <cuda_fp16.h>

#include <cstdint>

#include "base/float8.hpp"

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

// Four e4m3 numbers, exactly: the first from the lowest byte.
__device__ __forceinline__ float4 unpack_e4m3(uint32_t bytes) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
  uint32_t low, high;
  asm("{ .reg .b16 a, b; mov.b32 {a, b}, %2; cvt.rn.f16x2.e4m3x2 %0, a; "
      "cvt.rn.f16x2.e4m3x2 %1, b; }"
      : "=r"(low), "=r"(high)
      : "r"(bytes));
  const float2 xy = __half22float2(reinterpret_cast<const __half2&>(low));
  const float2 zw = __half22float2(reinterpret_cast<const __half2&>(high));
  return float4{xy.x, xy.y, zw.x, zw.y};
#else
  const auto number = [&](int i) { return from_e4m3(static_cast<uint8_t>(bytes >> (8 * i))); };
  return float4{number(0), number(1), number(2), number(3)};
#endif
}

}  // namespace seesaw::ptx
