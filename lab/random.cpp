#include "lab/random.hpp"

#include <algorithm>
#include <cmath>

namespace seesaw::lab {
namespace {

// Newton's method from the neighbouring quantile.
std::vector<float> make_small_normals() {
  constexpr size_t kQuantiles = size_t{1} << 16;
  std::vector<float> table(kQuantiles);
  double x = 0;
  for (size_t i = kQuantiles / 2; i < kQuantiles; ++i) {
    const double p = (static_cast<double>(i) + 0.5) / kQuantiles;
    for (int step = 0; step < 6; ++step) {
      const double above = 0.5 * std::erfc(x / std::sqrt(2.0));
      const double density = std::exp(-x * x / 2) / std::sqrt(2 * M_PI);
      x += (above - (1 - p)) / density;
    }
    table[i] = static_cast<float>(std::clamp(x / 10, -1.0, 1.0));
    table[kQuantiles - 1 - i] = -table[i];
  }
  return table;
}

}  // namespace

const std::vector<float>& small_normals() {
  static const std::vector<float> table = make_small_normals();
  return table;
}

}  // namespace seesaw::lab
