#include "lab/values.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace seesaw::lab {
namespace {

constexpr size_t kQuantiles = size_t{1} << 16;

constexpr std::array<NamedValues, 5> kNames = {
    {{"suite", Values::kSuite, "normal / 10 within +-1, as in FlashMLA's tests"},
     {"normal", Values::kNormal, "normal"},
     {"peaked", Values::kPeaked, "3 * normal: rows that see nearly one key"},
     {"heavy", Values::kHeavy, "Student's t with two degrees of freedom"},
     {"cancel", Values::kCancel, "values of +-4 in turn, weighed evenly"}}};

// Newton's method from the neighbouring quantile.
double next_normal(double p, double x) {
  for (int step = 0; step < 6; ++step) {
    const double above = 0.5 * std::erfc(x / std::sqrt(2.0));
    const double density = std::exp(-x * x / 2) / std::sqrt(2 * M_PI);
    x += (above - (1 - p)) / density;
  }
  return x;
}

// What `made` makes of a normal's quantiles: the upper half, which the lower half mirrors.
template <typename Made>
std::vector<float> normal_table(Made made) {
  std::vector<float> table(kQuantiles);
  double x = 0;
  for (size_t i = kQuantiles / 2; i < kQuantiles; ++i) {
    x = next_normal((static_cast<double>(i) + 0.5) / kQuantiles, x);
    table[i] = static_cast<float>(made(x));
    table[kQuantiles - 1 - i] = -table[i];
  }
  return table;
}

std::vector<float> heavy_table() {
  std::vector<float> table(kQuantiles);
  for (size_t i = 0; i < kQuantiles; ++i) {
    const double p = (static_cast<double>(i) + 0.5) / kQuantiles;
    table[i] = static_cast<float>((2 * p - 1) / std::sqrt(2 * p * (1 - p)));
  }
  return table;
}

}  // namespace

std::span<const NamedValues> all_values() { return kNames; }

std::string_view name_of(Values values) { return kNames[static_cast<size_t>(values)].name; }

const std::vector<float>& quantiles(Values values) {
  static const auto suite = normal_table([](double x) { return std::clamp(x / 10, -1.0, 1.0); });
  static const auto normal = normal_table([](double x) { return x; });
  static const auto peaked = normal_table([](double x) { return 3 * x; });
  static const auto heavy = heavy_table();
  switch (values) {
    case Values::kSuite:
      return suite;
    case Values::kPeaked:
      return peaked;
    case Values::kHeavy:
      return heavy;
    case Values::kNormal:
    case Values::kCancel:
      break;
  }
  return normal;
}

}  // namespace seesaw::lab
