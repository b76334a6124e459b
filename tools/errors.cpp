#include "errors.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace seesaw::tools {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// 0 where both say the same, NaN and infinities included.
double distance(float result, float reference) {
  const bool same = result == reference || (std::isnan(result) && std::isnan(reference));
  const double error = std::fabs(static_cast<double>(result) - static_cast<double>(reference));
  return same ? 0 : std::isnan(error) ? kInfinity : error;
}

struct Worst {
  double of_bound = 1;
  std::string text;

  void see(const char* tensor, size_t i, double ratio, float result, float reference) {
    if (ratio > of_bound) {
      of_bound = ratio;
      text = fmt::format("{}[{}] = {}, reference {}, {:.3g} times the bound", tensor, i, result,
                         reference, ratio);
    }
  }
};

double of_bound(double error, const Bound& bound, float reference) {
  const double allowed = bound.absolute + bound.relative * std::fabs(reference);
  return error == 0 ? 0 : std::isinf(allowed) || std::isnan(allowed) ? kInfinity : error / allowed;
}

}  // namespace

void Distribution::add(double value) {
  const double known = std::isnan(value) ? kInfinity : value;
  max_ = std::max(max_, known);
  ++total_;
  ++counts_[std::bit_cast<uint32_t>(static_cast<float>(known)) >> 15];
}

void Distribution::merge(const Distribution& other) {
  for (size_t i = 0; i < kBuckets; ++i) {
    counts_[i] += other.counts_[i];
  }
  total_ += other.total_;
  max_ = std::max(max_, other.max_);
}

double Distribution::percentile(double fraction) const {
  const double rank = fraction * static_cast<double>(total_);
  double below = 0;
  for (size_t i = 0; i < kBuckets; ++i) {
    below += static_cast<double>(counts_[i]);
    if (counts_[i] > 0 && below >= rank) {
      return std::min<double>(max_, std::bit_cast<float>(static_cast<uint32_t>(i) << 15));
    }
  }
  return max_;
}

bool ErrorStatistics::ok() const {
  return repeats && out_of_bound.max() <= 1 && lse_of_bound.max() <= 1 && cosine <= kCosineBound;
}

void ErrorStatistics::merge(const ErrorStatistics& other) {
  out_error.merge(other.out_error);
  out_of_bound.merge(other.out_of_bound);
  lse_of_bound.merge(other.lse_of_bound);
  cosine = std::max(cosine, other.cosine);
  repeats = repeats && other.repeats;
  if (worst.empty()) {
    worst = other.worst;
  }
}

ErrorStatistics compare(const Results& result, const Results& reference) {
  ErrorStatistics statistics;
  Worst worst;
  double product = 0;
  double squares = 0;
  for (size_t i = 0; i < reference.out.size(); ++i) {
    const float expected = reference.out[i];
    const double error = distance(result.out[i], expected);
    const double ratio = of_bound(error, kOutBound, expected);
    statistics.out_error.add(error);
    statistics.out_of_bound.add(ratio);
    worst.see("out", i, ratio, result.out[i], expected);
    product += static_cast<double>(result.out[i]) * expected;
    squares += static_cast<double>(result.out[i]) * result.out[i] +
               static_cast<double>(expected) * expected;
  }
  for (size_t i = 0; i < reference.lse.size(); ++i) {
    const double ratio =
        of_bound(distance(result.lse[i], reference.lse[i]), kLseBound, reference.lse[i]);
    statistics.lse_of_bound.add(ratio);
    worst.see("lse", i, ratio, result.lse[i], reference.lse[i]);
  }
  statistics.cosine = squares == 0 ? 0 : std::max(0.0, 1 - 2 * product / squares);
  statistics.worst = worst.text;
  if (statistics.worst.empty() && !(statistics.cosine <= kCosineBound)) {
    statistics.worst =
        fmt::format("cosine distance {:.3g}, allowed {:.3g}", statistics.cosine, kCosineBound);
  }
  return statistics;
}

}  // namespace seesaw::tools
