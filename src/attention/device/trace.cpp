#include "attention/device/trace.hpp"

#include "gpu/device.hpp"
#include "gpu/trace.hpp"

namespace seesaw::attention::device {

Status trace(const Plan& plan, const Call& call, void* stream, const TracedVariant& variant,
             Trace* trace) {
  constexpr char kWhere[] = "attention (trace)";
  if (call.items == 0) {
    return {};
  }
  const gpu::DeviceGuard guard(plan.options.device.index);
  SEESAW_RETURN_IF_ERROR(gpu::status_of(guard.error(), kWhere, "selecting the tensors' device"));
  const gpu::DeviceProperties& device = *gpu::device_of(plan.options.device.index).properties;
  const auto cuda_stream = static_cast<cudaStream_t>(stream);
  const Geometry geometry = geometry_of(plan);
  return gpu::trace_call(
      {.where = kWhere,
       .device = plan.options.device.index,
       .stream = cuda_stream,
       .split = plan.split,
       .schedule = call.schedule,
       .blocks_of_worker = static_cast<int32_t>(plan.attention.h_kv * geometry.group_tiles),
       .lanes = variant.lanes,
       .set_blocks =
           [&](gpu::TraceBlock* blocks) { return variant.set_blocks(blocks, cuda_stream); },
       .attend =
           [&] {
             return variant.launch(plan, geometry, call, gpu::portable_edge(device), cuda_stream);
           },
       .combine = [&] { return launch_combine(plan, geometry, call, device, cuda_stream); }},
      trace);
}

}  // namespace seesaw::attention::device
