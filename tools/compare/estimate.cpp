#include "compare/estimate.hpp"

#include <algorithm>

#include "lab/elements.hpp"

namespace seesaw::tools {
namespace {

constexpr double kShareOfRoof = 0.5;         // what layers usually reach
constexpr double kSetUpSeconds = 0.05;       // a plan with its primitives, and metering memory
constexpr double kInputsPerSecond = 30e6;    // random numbers drawn, rounded and copied
constexpr double kRunsBeforeRounds = 3;      // for memory, and the first round
constexpr double kDoublePart = 0.25;         // of a float32 rate, in double by Eigen
constexpr double kOperationsOfFactors = 20;  // of a decomposition, times rows columns^2

double seconds_of_a_call(const Bench& bench, const Setting& setting, const Prediction& p) {
  const Roofs roofs = roofs_of(bench.roofs, setting.dtype, false);
  const double compute = p.operations / (1e9 * std::max(1.0, roofs.peak_gflops));
  const double read = p.bytes / (1e9 * std::max(0.1, roofs.read_gbps));
  return std::max(compute, read) / kShareOfRoof;
}

// The host's rate of float32, of one thread; a GPU's says nothing about it.
double host_gflops(const Bench& bench) {
  constexpr double kUnknown = 50;
  return bench.device.is_host() && bench.roofs.float32_gflops > 0
             ? bench.roofs.float32_gflops / std::max(1, bench.place.threads)
             : kUnknown;
}

}  // namespace

double group_seconds(const Bench& bench, const Setting& setting,
                     const std::vector<Contender>& contenders) {
  double round = 0;
  double inputs = 0;
  for (const Contender& contender : contenders) {
    const Prediction p = predict(setting, contender, bench.place);
    round += seconds_of_a_call(bench, setting, p);
    const int64_t cached = setting.batch * setting.len *
                           static_cast<int64_t>(p.cache_bytes_per_token) /
                           static_cast<int64_t>(size_of(setting.dtype));
    inputs += static_cast<double>(p.parameters) + static_cast<double>(cached) +
              static_cast<double>(setting.batch * setting.new_tokens() * setting.d_model());
  }
  const double rounds =
      std::max(static_cast<double>(bench.rules.fewest_rounds * bench.rules.calls) * round,
               bench.rules.seconds);
  return kSetUpSeconds * static_cast<double>(contenders.size()) + inputs / kInputsPerSecond +
         kRunsBeforeRounds * round + rounds;
}

double error_seconds(const Bench& bench, const Setting& setting, const Contender& contender) {
  const Prediction p = predict(setting, contender, bench.place);
  return kSetUpSeconds + p.operations / (1e9 * kDoublePart * host_gflops(bench)) +
         static_cast<double>(p.parameters) / kInputsPerSecond;
}

double decomposition_seconds(const Bench& bench, int64_t rows, int64_t columns) {
  const auto longer = static_cast<double>(std::max(rows, columns));
  const auto shorter = static_cast<double>(std::min(rows, columns));
  return kOperationsOfFactors * longer * shorter * shorter /
         (1e9 * kDoublePart * host_gflops(bench));
}

}  // namespace seesaw::tools
