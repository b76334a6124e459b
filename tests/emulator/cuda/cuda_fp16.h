// CUDA's half, as far as the sources use it.
#pragma once

#include <vector_types.h>

#include "base/float16.hpp"

struct __half {
  uint16_t bits;

  __half() = default;
  explicit __half(float value) : bits(seesaw::from_float<seesaw::Float16>(value).bits) {}
  explicit operator float() const { return seesaw::to_float(seesaw::Float16{bits}); }
};
struct alignas(4) __half2 {
  __half x, y;
};

inline __half2 __floats2half2_rn(float x, float y) { return {__half(x), __half(y)}; }
inline float2 __half22float2(__half2 pair) {
  return {static_cast<float>(pair.x), static_cast<float>(pair.y)};
}
