#include <chrono>

#include "ladder/four_steps_cpu.hpp"
#include "ladder/harness.hpp"

namespace seesaw::ladder {

RungResult run_cpu(HostProblem& host, const TimingOptions& options) {
  RungResult result;
  result.idea = "four steps, CPU build of rung 3's source";
  const Problem problem = host.view();
  const auto begin = std::chrono::steady_clock::now();
  run_four_steps_cpu(problem, FlashBlocks{});
  const std::chrono::duration<double, std::micro> elapsed =
      std::chrono::steady_clock::now() - begin;
  const std::vector<int64_t> rows = rows_to_check(problem, options.rows_to_check);
  result.deviation = compare_rows(host.out, rows, reference_rows(problem, rows));
  result.microseconds = elapsed.count();
  result.fastest_microseconds = elapsed.count();
  result.runs = 1;
  return result;
}

}  // namespace seesaw::ladder
