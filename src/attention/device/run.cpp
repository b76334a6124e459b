#include "attention/device/run.hpp"

#include "attention/device/check.hpp"
#include "attention/host.hpp"
#include "gpu/check_data.hpp"
#include "gpu/faults.hpp"
#include "gpu/schedule.hpp"

namespace seesaw::attention::device {
namespace {

constexpr char kWhere[] = "attention";

}  // namespace

uint64_t workspace_bytes(const Plan& plan) {
  return geometry_of(plan).partials.size_bytes() +
         (plan.options.check_data ? gpu::check_bytes(plan.split) : 0);
}

Status prepare(const Plan& plan, const Call& call, void* schedule, void* stream) {
  const gpu::DeviceGuard guard(plan.options.device.index);
  SEESAW_RETURN_IF_ERROR(gpu::status_of(guard.error(), kWhere, "selecting the tensors' device"));
  SEESAW_RETURN_IF_ERROR(gpu::take_fault(plan.options.device.index, kWhere));
  const auto cuda_stream = static_cast<cudaStream_t>(stream);
  if (plan.options.check_data && call.items > 0) {
    // The schedule buffer is about to be written: until then it holds the report.
    SEESAW_RETURN_IF_ERROR(check_before_prepare(plan, call, schedule, cuda_stream));
  }
  return gpu::launch_schedule({.config = plan.split,
                               .lengths = planned_lengths(plan.attention, call),
                               .batch = static_cast<int32_t>(call.items),
                               .schedule = schedule},
                              cuda_stream);
}

Status run(const Plan& plan, const Call& call, void* stream, LaunchAttention launch) {
  if (call.items == 0) {
    return {};
  }
  const gpu::DeviceGuard guard(plan.options.device.index);
  SEESAW_RETURN_IF_ERROR(gpu::status_of(guard.error(), kWhere, "selecting the tensors' device"));
  SEESAW_RETURN_IF_ERROR(gpu::take_fault(plan.options.device.index, kWhere));
  const auto cuda_stream = static_cast<cudaStream_t>(stream);
  const Geometry geometry = geometry_of(plan);
  if (plan.options.check_data) {
    SEESAW_RETURN_IF_ERROR(check_before_run(plan, call, cuda_stream));
  }
  const gpu::DeviceProperties& device = *gpu::device_of(plan.options.device.index).properties;
  SEESAW_RETURN_IF_ERROR(launch(plan, geometry, call, gpu::portable_edge(device), cuda_stream));
  return launch_combine(plan, geometry, call, device, cuda_stream);
}

}  // namespace seesaw::attention::device
