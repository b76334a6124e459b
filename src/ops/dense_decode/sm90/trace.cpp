#include "ops/dense_decode/sm90/trace.hpp"

#include <string>

#include "base/message.hpp"
#include "gpu/device.hpp"
#include "gpu/trace.hpp"
#include "ops/dense_decode/sm90/launch.hpp"

namespace seesaw::dense_decode::sm90 {
namespace {

constexpr char kWhere[] = "dense_decode_trace";

}  // namespace

Status trace(const DenseDecodePlan& plan, const Args& args, const Call& call, Trace* trace) {
  return trace_by({.lanes = 2,  // the consumer warpgroups
                   .set_blocks = set_trace_blocks,
                   .launch = {launch_traced}},
                  plan, args, call, trace);
}

Status trace_by(const TracedVariant& variant, const DenseDecodePlan& plan, const Args& args,
                const Call& call, Trace* trace) {
  if (batch_of(args) == 0) {
    return {};
  }
  const DenseDecodeProblem& problem = plan.problem;
  if (problem.q_type() != DType::kBFloat16 || problem.d_qk != 576) {
    return not_supported(four_part_message(
        kWhere,
        std::string(name_of(problem.q_type())) + " and d_qk " + std::to_string(problem.d_qk),
        "bfloat16 and d_qk 576, which the traced variant is compiled for",
        "Trace such a problem, or use Nsight Compute."));
  }
  SEESAW_RETURN_IF_ERROR(check_alignment(args));
  const gpu::DeviceGuard guard(plan.options.device.index);
  SEESAW_RETURN_IF_ERROR(gpu::status_of(guard.error(), kWhere, "selecting the tensors' device"));
  const gpu::DeviceAnswer device = gpu::device_of(plan.options.device.index);
  const Geometry geometry = geometry_of(plan);
  const auto stream = static_cast<cudaStream_t>(call.stream);
  return gpu::trace_call(
      {.where = kWhere,
       .device = plan.options.device.index,
       .stream = stream,
       .split = plan.split,
       .schedule = call.schedule,
       .blocks_of_worker = static_cast<int32_t>(problem.h_kv * geometry.group_tiles),
       .lanes = variant.lanes,
       .set_blocks = [&](gpu::TraceBlock* blocks) { return variant.set_blocks(blocks, stream); },
       .attend = [&] { return launch_dense_decode(plan, geometry, args, call, variant.launch); },
       .combine =
           [&] {
             return combine_dense_decode(plan, geometry, args, call, device.properties->num_sms);
           }},
      trace);
}

}  // namespace seesaw::dense_decode::sm90
