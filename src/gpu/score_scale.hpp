// The softmax scale, shared out between Q while it is loaded and the scores.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "core/dtype.hpp"

namespace seesaw::gpu {

struct ScoreScale {
  float q_factor;    // a signed power of two, or 0
  float scale_log2;  // > 0; scale * log2 e = scale_log2 * q_factor
};

// The kernels multiply scores by a positive number, so that a row's largest score is its maximum
// and a masked score stays -inf: Q takes the sign. bf16 reaches as far as float does, so products q
// k of which a tiny scale would make ordinary scores overflow: there Q takes the power of two as
// well, exactly but for what no such score is made of. fp16 does not reach that far, and a scale
// below kLeastScale makes its every score 0.
inline ScoreScale score_scale_of(DType dtype, float scale) {
  constexpr float kTinyScale = 0x1p-16F;
  constexpr float kLeastScale = 1e-37F;
  const float sign = std::signbit(scale) && scale != 0.0F ? -1.0F : 1.0F;
  const float size_log2 = std::fabs(scale) * std::numbers::log2e_v<float>;
  if (size_log2 >= kTinyScale) {
    return {sign, size_log2};
  }
  if (dtype == DType::kFloat16) {
    return {sign, std::max(size_log2, kLeastScale)};
  }
  if (scale == 0.0F) {
    return {0.0F, 1.0F};
  }
  const double size = std::fabs(double{scale}) * std::numbers::log2e;
  const int exponent = std::max(std::ilogb(size), std::numeric_limits<float>::min_exponent);
  return {sign * std::ldexp(1.0F, exponent), static_cast<float>(std::ldexp(size, -exponent))};
}

}  // namespace seesaw::gpu
