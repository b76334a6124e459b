// Rotary embedding in float32, each operation rounded by itself: the same bits on every device.
#pragma once

#include <cstdint>

#include "base/float8.hpp"
#include "base/host_device.hpp"
#include "seesaw/seesaw.h"

namespace seesaw::append {

// Two numbers that turn together.
struct Pair {
  float x;
  float y;
};

// Their columns.
struct PairColumns {
  int64_t x;
  int64_t y;
};

SEESAW_HOST_DEVICE inline PairColumns columns_of_pair(int32_t rotary, int64_t d_rope,
                                                      int64_t pair) {
  return rotary == SEESAW_ROTARY_INTERLEAVED ? PairColumns{2 * pair, 2 * pair + 1}
                                             : PairColumns{pair, pair + d_rope / 2};
}

// Devices make different NaNs of the same numbers: all become this one.
SEESAW_HOST_DEVICE inline float with_one_nan(float value) {
  return float8::is_nan(value) ? float_of(float8::kNaN) : value;
}

SEESAW_HOST_DEVICE inline Pair rotate(const Pair& pair, float cos, float sin) {
#if defined(__CUDA_ARCH__)
  const float x = __fsub_rn(__fmul_rn(pair.x, cos), __fmul_rn(pair.y, sin));
  const float y = __fadd_rn(__fmul_rn(pair.y, cos), __fmul_rn(pair.x, sin));
#else  // compiled with -ffp-contract=off
  const float x = pair.x * cos - pair.y * sin;
  const float y = pair.y * cos + pair.x * sin;
#endif
  return {with_one_nan(x), with_one_nan(y)};
}

}  // namespace seesaw::append
