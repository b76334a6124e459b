// Conversions to 8-bit floats. PTX ISA 9.0, section "cvt".
#pragma once

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

}  // namespace seesaw::ptx
