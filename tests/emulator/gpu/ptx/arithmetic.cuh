// The emulator's side of src/gpu/ptx/arithmetic.cuh.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdint>

namespace seesaw::ptx {

// Subnormal arguments and results count as 0.
inline float max_or_nan(float a, float b) { return a > b || std::isnan(a) ? a : b; }

inline float exp2_approx(float x) {
  const float y = std::exp2(x);
  return y < FLT_MIN ? 0.0F : y;
}

template <typename T>
uint32_t max_or_nan_of_magnitudes(uint32_t a, uint32_t b) {
  return std::max(a & 0xFFFFu, b & 0xFFFFu) | std::max(a & 0xFFFF0000u, b & 0xFFFF0000u);
}

template <typename T>
uint32_t pack(float low, float high) {
  return static_cast<uint32_t>(T(low).bits) | (static_cast<uint32_t>(T(high).bits) << 16);
}

template <typename T>
float2 unpack(uint32_t pair) {
  T low, high;
  low.bits = static_cast<uint16_t>(pair);
  high.bits = static_cast<uint16_t>(pair >> 16);
  return {static_cast<float>(low), static_cast<float>(high)};
}

}  // namespace seesaw::ptx
