#include "attention/cpu/scores.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "cpu/exp2.hpp"

namespace seesaw::attention::cpu {
namespace {

// Without branches, so that loops over it become vectors.
[[gnu::always_inline]] inline float branchless_tanh(float x) {
  // Near 0 an odd polynomial (Cephes' tanhf, relative error 2e-8).
  const float z = x * x;
  const float polynomial =
      (((-5.70498872745E-3F * z + 2.06390887954E-2F) * z - 5.37397155531E-2F) * z +
       1.33314422036E-1F) *
          z -
      3.33332819422E-1F;
  const float small = x + x * z * polynomial;

  // Elsewhere 1 - 2 / (e^2a + 1). From 10 on that is 1.
  constexpr float kTwoLog2E = 2.88539008177792682F;
  const float a = std::abs(x) < 10.0F ? std::abs(x) : 10.0F;
  const float power = a * kTwoLog2E;
  const auto whole = static_cast<int32_t>(power + 0.5F);
  const float rest = power - static_cast<float>(whole);
  float exp2 = seesaw::cpu::kExp2Coefficients[0];
  for (int i = 1; i < seesaw::cpu::kExp2Terms; ++i) {
    exp2 = exp2 * rest + seesaw::cpu::kExp2Coefficients[i];
  }
  const float exp = std::bit_cast<float>(std::bit_cast<int32_t>(exp2) + (whole << 23));
  const float large = std::copysign(1.0F - 2.0F / (exp + 1.0F), x);

  const float tanh = std::abs(x) < 0.625F ? small : large;
  return x != x ? x : tanh;
}

}  // namespace

float tanh_of(float x) { return branchless_tanh(x); }

void cap_scores(float* scores, int64_t count, float scale, float cap) {
  for (int64_t i = 0; i < count; ++i) {
    scores[i] = cap * branchless_tanh(scores[i] * scale / cap);
  }
}

float larger_of(float a, float b) { return a > b || a != a ? a : b; }

void note_largest(const ScoreVector& vector, float scale, float* largest) {
  for (int64_t token = 0; token < vector.tokens; ++token) {
    const float* scores = vector.scores + token * vector.lanes;
    for (int64_t lane = 0; lane < vector.lanes; ++lane) {
      const bool seen = vector.visible == nullptr || token < vector.visible[lane];
      const float score = scores[lane] * scale;
      largest[lane] = seen && (score > largest[lane] || score != score) ? score : largest[lane];
    }
  }
}

}  // namespace seesaw::attention::cpu
