// Host side of gpu.merge_states: from a plan and the tensors of one call to the kernel's
// parameters.
#include <climits>
#include <limits>

#include "gpu/device.hpp"
#include "ops/merge_states/gpu/merge.hpp"

namespace seesaw::merge_states::gpu {
namespace {

constexpr char kWhere[] = "merge_states";
constexpr int64_t kUnitBytes = 16;

Rows rows_of(const Tensor& tensor) {
  return {tensor.data, {tensor.stride[0], tensor.stride[1], tensor.stride[2]}};
}

// Whether every row starts on 16 bytes.
bool aligned(const Tensor& tensor) {
  bool all = reinterpret_cast<uintptr_t>(tensor.data) % kUnitBytes == 0;
  for (int i = 0; i < 3; ++i) {
    const bool stepped = tensor.shape[i] > 1;
    all = all && (!stepped || tensor.stride[i] * element_bytes(tensor) % kUnitBytes == 0);
  }
  return all;
}

}  // namespace

Support supports(const Problem& problem, const Options& options) {
  const Support device = seesaw::gpu::runs_portable(options.device.index);
  if (!device.supported) {
    return device;
  }
  if (problem.batch * problem.s > INT64_MAX / problem.h ||
      problem.batch * problem.s * problem.h > INT32_MAX) {
    return Support::no("batch * s * h, needs less than 2^31 rows");
  }
  return Support::yes();
}

Status run(const MergePlan& plan, const Args& args, const Call& call) {
  const Problem& problem = plan.problem;
  if (batch_of(args) == 0) {
    return {};
  }
  MergeParams params;  // 4 KB, not cleared first: of its parts only those there are get read
  bool units = aligned(args.out) && problem.d_v * size_of(problem.type()) % kUnitBytes == 0;
  for (int64_t i = 0; i < problem.num_parts; ++i) {
    params.outs[i] = rows_of(args.outs[i]);
    params.lses[i] = rows_of(args.lses[i]);
    units = units && aligned(args.outs[i]);
  }
  params.out = rows_of(args.out);
  params.lse = rows_of(args.lse);
  params.num_rows = batch_of(args) * problem.s * problem.h;
  params.num_parts = static_cast<int32_t>(problem.num_parts);
  params.s = static_cast<int32_t>(problem.s);
  params.h = static_cast<int32_t>(problem.h);
  params.d_v = static_cast<int32_t>(problem.d_v);
  params.log2_per_unit = static_cast<float>(problem.log2_per_unit());
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  params.empty_lse = problem.empty_is_positive() ? kInfinity : -kInfinity;
  const seesaw::gpu::DeviceGuard guard(plan.options.device.index);
  SEESAW_RETURN_IF_ERROR(
      seesaw::gpu::status_of(guard.error(), kWhere, "selecting the tensors' device"));
  return seesaw::gpu::status_of(
      launch_merge(params, problem.type(), units ? Access::kUnits : Access::kElements,
                   static_cast<cudaStream_t>(call.stream)),
      kWhere, "launching the merge");
}

}  // namespace seesaw::merge_states::gpu
