// Whether a call attends absorbed or expanded.
#pragma once

#include <cstdint>

#include "baselines/problem.hpp"

namespace seesaw::layers {

// What expanding saves, in multiplications of one head, of `fresh` new tokens behind `past` ones:
// negative where absorbing is faster. A pair of a query and a key costs 2 L + R absorbed and d_nope
// + R + V expanded (1,088 and 320 in DeepSeek's models); a key costs L (d_nope + V) to expand,
// which is what a query costs to absorb.
inline double gain_of_expanding(const baselines::Problem& p, int64_t fresh, int64_t past) {
  // How much longer a multiplication takes where keys are expanded than in dense_decode.
  constexpr double kWeight = 1.0;
  const auto keys = static_cast<double>(past) + (static_cast<double>(fresh) + 1.0) / 2.0;
  const auto saved = static_cast<double>(2 * p.d_latent - p.d_nope - p.d_v);
  const auto expansion = static_cast<double>(p.d_latent * (p.d_nope + p.d_v));
  return static_cast<double>(fresh) * keys * saved -
         kWeight * expansion * static_cast<double>(past);
}

}  // namespace seesaw::layers
