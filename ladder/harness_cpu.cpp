#include <algorithm>
#include <chrono>
#include <fstream>

#include "ladder/four_steps_cpu.hpp"
#include "ladder/harness.hpp"

namespace seesaw::ladder {
namespace {

constexpr int kFewestRuns = 3;

double time_once(const Problem& problem) {
  const auto begin = std::chrono::steady_clock::now();
  run_four_steps_cpu(problem, FlashBlocks{});
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin)
      .count();
}

}  // namespace

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t value = line.find(": ");
    if (line.starts_with("model name") && value != std::string::npos) {
      return "CPU, " + line.substr(value + 2);
    }
  }
  return "CPU";
}

RungResult run_cpu(HostProblem& host, const TimingOptions& options) {
  RungResult result;
  result.idea = "four steps, CPU build of rung 3's source";
  const Problem problem = host.view();
  // The first run is checked, into an output full of NaN, and is the one that is not counted.
  host.clear_out();
  run_four_steps_cpu(problem, FlashBlocks{});
  const std::vector<int64_t> rows = rows_to_check(problem, options.rows_to_check);
  result.deviation = compare_rows(host.out, rows, reference_rows(problem, rows));
  if (options.max_runs == 0) {
    return result;
  }
  std::vector<double> times;
  double total_ms = 0.0;
  while (static_cast<int>(times.size()) < kFewestRuns ||
         (static_cast<int>(times.size()) < options.max_runs && total_ms < options.budget_ms)) {
    times.push_back(time_once(problem));
    total_ms += 1e-3 * times.back();
  }
  std::sort(times.begin(), times.end());
  result.microseconds = times[times.size() / 2];
  result.fastest_microseconds = times.front();
  result.runs = static_cast<int>(times.size());
  return result;
}

}  // namespace seesaw::ladder
