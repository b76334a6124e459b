// Runs rungs on a GPU: inputs to the device, a correct answer first, then the time.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ladder/inputs.hpp"
#include "ladder/rungs.hpp"

namespace seesaw::ladder {

struct TimingOptions {
  int min_runs = 5;
  int max_runs = 50;
  double budget_ms = 400.0;  // of timed runs per rung, once min_runs are done
  int64_t rows_to_check = 512;
};

// One rung's line of the table. Times are medians of single runs, each with a cold L2 cache.
struct RungResult {
  int number = 0;  // 0: the CPU build of the four steps
  std::string idea;
  std::string error;  // why it did not run; empty if it did
  double microseconds = 0.0;
  double fastest_microseconds = 0.0;
  int runs = 0;
  Deviation deviation;
};

// Where the rungs run.
struct Device {
  std::string name;     // "NVIDIA H200"
  std::string why_not;  // empty if the rungs can run
};
Device find_device();

// What was measured, with everything needed to repeat it.
struct Report {
  std::string device;
  ProblemSpec spec;
  Work work;
  double empty_microseconds = 0.0;  // 0: not measured
  std::vector<RungResult> rungs;
};

// Owns the inputs on the device.
class GpuHarness {
 public:
  GpuHarness(HostProblem& host, const TimingOptions& options);
  ~GpuHarness();
  GpuHarness(const GpuHarness&) = delete;
  GpuHarness& operator=(const GpuHarness&) = delete;

  Status setup();  // allocates, copies, computes the reference
  RungResult run(const Rung& rung);
  // A rung with other sizes; checked and timed like any.
  RungResult run(const std::function<Status(const Problem&, Launcher*)>& prepare);

  // The time of a kernel that does nothing, measured in the same way: what every rung's time
  // contains besides its work.
  double empty_microseconds();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// "CPU, AMD EPYC"; "CPU" where the system does not say which.
std::string cpu_name();

// The CPU build of the four steps: checked, then timed at least three times.
RungResult run_cpu(HostProblem& host, const TimingOptions& options);

}  // namespace seesaw::ladder
