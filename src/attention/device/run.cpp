#include "attention/device/run.hpp"

#include "attention/host.hpp"
#include "gpu/check_data.hpp"
#include "gpu/faults.hpp"
#include "gpu/schedule.hpp"

namespace seesaw::attention::device {
namespace {

constexpr char kWhere[] = "attention";

// The report and the second schedule of options.check_data lie behind the partials.
void* check_scratch(const Geometry& geometry, const Call& call) {
  return static_cast<char*>(call.workspace) + geometry.partials.size_bytes();
}

// Whether the data checks know the problem's streams: a block table and lengths that it goes with.
bool checks_data(const Plan& plan) {
  const Problem& problem = plan.attention;
  return plan.options.check_data && problem.num_streams == 1 &&
         problem.streams[0].kind == StreamKind::kPages && problem.items_per_sequence == 1 &&
         problem.masks.window == 0;
}

gpu::LengthsToCheck lengths_to_check(const Problem& problem, const Call& call) {
  const StreamShape& shape = problem.streams[0];
  return {.seq_lens = call.streams[0].lengths,
          .stride = call.streams[0].lengths_stride,
          .batch = call.items,
          .max_pages = shape.most_tokens / shape.page_size,
          .page_size = shape.page_size};
}

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
  if (checks_data(plan) && call.items > 0) {
    // The schedule buffer is about to be written: until then it holds the report.
    SEESAW_RETURN_IF_ERROR(
        gpu::check_lengths(lengths_to_check(plan.attention, call), schedule, cuda_stream));
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
  if (checks_data(plan)) {
    SEESAW_RETURN_IF_ERROR(
        gpu::check_call({.lengths = lengths_to_check(plan.attention, call),
                         .block_table = call.streams[0].ids,
                         .block_table_stride = call.streams[0].ids_stride_sequence,
                         .num_pages = call.streams[0].pages,
                         .split = plan.split,
                         .schedule = call.schedule},
                        check_scratch(geometry, call), cuda_stream));
  }
  const gpu::DeviceProperties& device = *gpu::device_of(plan.options.device.index).properties;
  SEESAW_RETURN_IF_ERROR(launch(plan, geometry, call, gpu::portable_edge(device), cuda_stream));
  return launch_combine(plan, geometry, call, device, cuda_stream);
}

}  // namespace seesaw::attention::device
