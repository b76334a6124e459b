// Whether a call attends absorbed or expanded.
#pragma once

#include <cstdint>

#include "baselines/problem.hpp"

namespace seesaw::layers {

// What expanding saves, in multiplications of one head, of `fresh` new tokens behind `past` ones:
// negative where absorbing is faster. A pair of a query and a key costs 2 L + R absorbed and d_nope
// + R + V expanded (1,088 and 320 in DeepSeek's models). A key costs L (d_nope + V) to expand,
// which is what a query costs to absorb: so only past keys count. Multiplications of both forms
// take equally long, as far as a busy machine tells
// (docs/notebook/0088-absorbed-or-expanded-on-a-cpu.md).
inline double gain_of_expanding(const baselines::Problem& p, int64_t fresh, int64_t past) {
  const double keys_of_a_query = static_cast<double>(past) + (static_cast<double>(fresh) + 1) / 2;
  const double pairs = static_cast<double>(fresh) * keys_of_a_query;
  const auto saved = static_cast<double>(2 * p.d_latent - p.d_nope - p.d_v);
  const auto expansion = static_cast<double>(p.d_latent * (p.d_nope + p.d_v));
  return pairs * saved - static_cast<double>(past) * expansion;
}

}  // namespace seesaw::layers
