// Host side of gpu.append: from a plan and the tensors of one call to the kernel's parameters.
#include <algorithm>
#include <bit>

#include "gpu/device.hpp"
#include "ops/append/gpu/check.hpp"

namespace seesaw::append::gpu {
namespace {

constexpr int64_t kUnitBytes = 16;

bool in_units(const void* data) { return reinterpret_cast<uintptr_t>(data) % kUnitBytes == 0; }

// Whether every row starts on 16 bytes.
bool aligned(const Tensor& tensor) {
  bool all = in_units(tensor.data);
  for (int32_t i = 0; i + 1 < tensor.rank; ++i) {
    all =
        all && (tensor.shape[i] <= 1 || tensor.stride[i] * element_bytes(tensor) % kUnitBytes == 0);
  }
  return all;
}

// 16 bytes of the narrowest elements that are read or written so are 8; a record's columns 16.
Access access_of(const Problem& problem, const AppendParams& params, const Args& args) {
  constexpr int64_t kAtOnce = 8;
  bool units = aligned(args.c_kv) && in_units(params.cache) &&
               params.page_stride_bytes % kUnitBytes == 0 &&
               params.row_stride_bytes % kUnitBytes == 0 && problem.d_latent % kAtOnce == 0;
  if (problem.d_rope > 0) {
    units = units && aligned(args.k_rope) && problem.d_rope % kAtOnce == 0;
  }
  if (args.q_rope.data != nullptr) {
    units = units && aligned(args.q_rope) && problem.d_rope % (2 * kAtOnce) == 0;
  }
  return units ? Access::kUnits : Access::kElements;
}

RotaryParams rotary_of(const Problem& problem, const Args& args) {
  RotaryParams rotary = {};
  if (problem.rotates()) {
    rotary = {.rotary = problem.rotary,
              .dtype = dtype_of(args.cos_sin),
              .d_rope = static_cast<int32_t>(problem.d_rope),
              .positions = static_cast<const int64_t*>(args.positions.data),
              .position_stride = args.positions.stride[0],
              .cos_sin = args.cos_sin.data,
              .cos_sin_stride = args.cos_sin.stride[0],
              .max_position = args.cos_sin.shape[0]};
  }
  return rotary;
}

ScaleParams scales_of(const Problem& problem, const Args& args) {
  const bool given = problem.scale_rule() == ScaleRule::kGiven;
  return {.rule = problem.scale_rule(),
          .given = given ? static_cast<const float*>(args.scales.data) : nullptr,
          .given_stride = given ? args.scales.stride[0] : 0,
          .kv_scale = static_cast<const float*>(args.kv_scale.data),
          .saturated = static_cast<unsigned long long*>(args.saturated.data)};
}

RecordParams record_of(const CacheFormat& format) {
  const bool one_scale = format.scale_group > format.latent.count;
  return {.latent = format.latent,
          .rotary = format.rotary,
          .scales = format.scales,
          .scaled_columns = is_plain(format.id) ? 0 : scaled_columns_of(format),
          .one_scale = one_scale,
          .scale_group_log2 =
              static_cast<int32_t>(std::bit_width(static_cast<uint32_t>(format.scale_group))) - 1,
          .latent_group_lanes = one_scale ? kLanes : format.scale_group / kLaneLatent,
          .rope_group_lanes = one_scale ? kLanes : format.scale_group / kLaneRope,
          .tensor_scale = format.tensor_scale,
          .row_bytes = format.row_bytes,
          .tail_bytes = format.tail_bytes};
}

AppendParams params_of(const Problem& problem, const Args& args) {
  const CacheFormat format = problem.format();
  return {.tokens = tokens_of(args),
          .c_kv = args.c_kv.data,
          .c_kv_stride = args.c_kv.stride[0],
          .k_rope = args.k_rope.data,
          .k_rope_stride = args.k_rope.data == nullptr ? 0 : args.k_rope.stride[0],
          .slots = static_cast<const int64_t*>(args.slot_mapping.data),
          .slot_stride = args.slot_mapping.stride[0],
          .cache = static_cast<uint8_t*>(args.kv_cache.data),
          .page_stride_bytes = problem.kv_page_stride * element_bytes(args.kv_cache),
          .row_stride_bytes = row_stride_bytes(format, problem.kv_token_stride),
          .page_size = seesaw::gpu::PageSize(problem.page_size),
          .tails = problem.page_size * format.row_bytes,
          .num_slots = slots_of(args),
          .append_blocks = static_cast<uint32_t>((tokens_of(args) + kWarps - 1) / kWarps),
          .record = record_of(format),
          .rotary = rotary_of(problem, args),
          .scales = scales_of(problem, args),
          .queries = {}};
}

QueryParams queries_of(const Problem& problem, const Args& args, Access access) {
  if (args.q_rope.data == nullptr) {
    return {};
  }
  const int64_t units = problem.h_q * (problem.d_rope / 2 / pairs_at_once(access));
  return {.q = args.q_rope.data,
          .token_stride = args.q_rope.stride[0],
          .head_stride = args.q_rope.stride[1],
          .h_q = static_cast<int32_t>(problem.h_q),
          .warps_per_token = static_cast<int32_t>((units + 31) / 32)};
}

}  // namespace

Support supports(const Problem&, const Options& options) {
  return seesaw::gpu::runs_portable(options.device.index);
}

Status plan(const Problem& problem, const Options& options, KnobValues knobs, AppendPlan* plan) {
  SEESAW_RETURN_IF_ERROR(append::plan(problem, options, knobs, plan));
  plan->workspace_bytes = options.check_data ? sizeof(Faults) : 0;
  return {};
}

Status run(const AppendPlan& plan, const Args& args, const Call& call) {
  const Problem& problem = plan.problem;
  if (tokens_of(args) == 0) {
    return {};
  }
  SEESAW_RETURN_IF_ERROR(check_tensors(problem, args));
  const seesaw::gpu::DeviceGuard guard(plan.options.device.index);
  SEESAW_RETURN_IF_ERROR(
      seesaw::gpu::status_of(guard.error(), kWhere, "selecting the tensors' device"));
  const auto stream = static_cast<cudaStream_t>(call.stream);
  AppendParams params = params_of(problem, args);
  if (plan.options.check_data) {
    SEESAW_RETURN_IF_ERROR(check(params, args, call.workspace, stream));
  }
  const Access access = access_of(problem, params, args);
  params.queries = queries_of(problem, args, access);
  return seesaw::gpu::status_of(launch_append(params, problem.type(), access, stream), kWhere,
                                "launching the append");
}

}  // namespace seesaw::append::gpu
