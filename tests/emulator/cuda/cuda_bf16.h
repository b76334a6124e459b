// CUDA's bfloat16, as far as the sources use it.
#pragma once

#include "base/float16.hpp"

struct __nv_bfloat16 {
  uint16_t bits;

  __nv_bfloat16() = default;
  explicit __nv_bfloat16(float value) : bits(seesaw::from_float<seesaw::BFloat16>(value).bits) {}
  explicit operator float() const { return seesaw::to_float(seesaw::BFloat16{bits}); }
};
struct alignas(4) __nv_bfloat162 {
  __nv_bfloat16 x, y;
};

inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) {
  return {__nv_bfloat16(x), __nv_bfloat16(y)};
}
