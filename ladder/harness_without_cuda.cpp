// A build without nvcc has no rungs to run: it says so, and runs the CPU row.
#include "ladder/harness.hpp"
#include "ladder/rung_03_four_steps.hpp"
#include "ladder/variants.hpp"

namespace seesaw::ladder {
namespace {

Status no_gpu_kernels() {
  return not_supported(
      "ladder: build without GPU kernels, allowed: a build with nvcc. Reconfigure.");
}

}  // namespace

struct GpuHarness::Impl {};

Device find_device() {
  return {"", "this build has no GPU kernels; configure with nvcc on the path"};
}

GpuHarness::GpuHarness(HostProblem&, const TimingOptions&) {}
GpuHarness::~GpuHarness() = default;

Status GpuHarness::setup() { return no_gpu_kernels(); }

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

Status prepare_rung_01_with(const Problem&, int, Launcher*) { return no_gpu_kernels(); }

Status prepare_rung_02_with(const Problem&, const SharedMemorySizes&, Launcher*) {
  return no_gpu_kernels();
}

Status prepare_rung_03_with(const Problem&, const FourStepsSizes&, Launcher*) {
  return no_gpu_kernels();
}

}  // namespace seesaw::ladder
