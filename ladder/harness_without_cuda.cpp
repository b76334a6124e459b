// A build without nvcc has no rungs to run: it says so, and runs the CPU row.
#include "ladder/harness.hpp"

namespace seesaw::ladder {

struct GpuHarness::Impl {};

Device find_device() {
  return {"", "this build has no GPU kernels; configure with nvcc on the path"};
}

GpuHarness::GpuHarness(HostProblem&, const TimingOptions&) {}
GpuHarness::~GpuHarness() = default;

Status GpuHarness::setup() {
  return not_supported(
      "ladder: build without GPU kernels, allowed: a build with nvcc. Reconfigure.");
}

double GpuHarness::empty_microseconds() { return 0.0; }

RungResult GpuHarness::run(const Rung& rung) {
  RungResult result;
  result.number = rung.number;
  result.idea = rung.idea;
  result.error = setup().message();
  return result;
}

RungResult GpuHarness::run(const std::function<Status(const Problem&, Launcher*)>&) {
  RungResult result;
  result.error = setup().message();
  return result;
}

}  // namespace seesaw::ladder
