// Medians and spread of repeated measurements.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace seesaw::lab {

struct Spread {
  double median = 0;
  double p10 = 0;
  double p90 = 0;
};

// Linear interpolation between the closest ranks; `samples` is not empty.
inline double percentile(const std::vector<double>& sorted, double fraction) {
  const double rank = fraction * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(std::floor(rank));
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (rank - std::floor(rank)) * (sorted[above] - sorted[below]);
}

inline Spread spread_of(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  return {percentile(samples, 0.5), percentile(samples, 0.1), percentile(samples, 0.9)};
}

}  // namespace seesaw::lab
