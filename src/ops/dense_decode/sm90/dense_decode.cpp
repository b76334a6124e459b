#include "ops/dense_decode/sm90/dense_decode.hpp"

#include <algorithm>
#include <climits>
#include <cstdint>
#include <string>

#include "gpu/check_data.hpp"
#include "gpu/device.hpp"
#include "gpu/faults.hpp"
#include "gpu/schedule.hpp"
#include "ops/dense_decode/sm90/launch.hpp"
#include "split/row_groups.hpp"

namespace seesaw::dense_decode::sm90 {
namespace {

// What starting and ending a piece costs, in tiles of work, and how long batch-invariant splits
// are. docs/decisions/0015-gpu-split-costs.md has the measurements.
constexpr int32_t kPieceCostTiles = 3;
constexpr int32_t kFixedSplitTiles = 32;

// What it costs the batch that any sequence is split, in tiles: the combine's own time, and the
// partials of up to two pieces a worker, written and read.
int32_t split_cost_tiles(const DenseDecodeProblem& problem, const split::RowGroups& groups) {
  const int64_t rows_of_group =
      std::min(problem.rows(), groups.group_tiles * int64_t{kDenseDecodeTileRows});
  const double rows = static_cast<double>(problem.h_kv * rows_of_group);
  const double cost_us = 2.0 + static_cast<double>(groups.num_workers) * rows / 600.0;
  const double tile_us = problem.rows() >= kDenseDecodeTileRows ? 1.35 : 2.2;
  return static_cast<int32_t>(cost_us / tile_us);
}

// The report and the second schedule of SEESAW_CHECK lie behind the partials.
void* check_scratch(const DenseDecodePlan& plan, const Call& call) {
  return static_cast<char*>(call.workspace) + geometry_of(plan).partials.size_bytes();
}

gpu::LengthsToCheck lengths_to_check(const DenseDecodeProblem& problem, const Tensor& seq_lens) {
  return {.seq_lens = static_cast<const int32_t*>(seq_lens.data),
          .stride = seq_lens.stride[0],
          .batch = seq_lens.shape[0],
          .max_pages = problem.max_pages_per_sequence,
          .page_size = problem.page_size};
}

Status check_data(const DenseDecodePlan& plan, const Args& args, const Call& call) {
  const auto stream = static_cast<cudaStream_t>(call.stream);
  void* scratch = check_scratch(plan, call);
  SEESAW_RETURN_IF_ERROR(
      gpu::check_block_table({.lengths = lengths_to_check(plan.problem, args.seq_lens),
                              .ids = static_cast<const int32_t*>(args.block_table.data),
                              .stride = args.block_table.stride[0],
                              .num_pages = args.kv_cache.shape[0]},
                             scratch, stream));
  return gpu::check_schedule({.config = plan.split,
                              .lengths = planned_lengths(plan.problem, args),
                              .batch = batch_of(args),
                              .schedule = call.schedule},
                             scratch, stream);
}

Status run_on_current_device(const DenseDecodePlan& plan, const Args& args, const Call& call,
                             int32_t num_sms, const AttentionKernel& kernel) {
  SEESAW_RETURN_IF_ERROR(check_alignment(args));
  if (plan.options.check_data) {
    SEESAW_RETURN_IF_ERROR(check_data(plan, args, call));
  }
  const Geometry geometry = geometry_of(plan);
  SEESAW_RETURN_IF_ERROR(launch_dense_decode(plan, geometry, args, call, kernel));
  return combine_dense_decode(plan, geometry, args, call, num_sms);
}

split::SplitConfig split_config(const DenseDecodeProblem& problem, const Options& options,
                                const gpu::DeviceProperties& device) {
  const int64_t max_tokens = std::min<int64_t>(problem.max_tokens(), INT32_MAX);
  const auto config_for = [&](const split::RowGroups& groups) {
    split::SplitConfig config;
    config.max_batch = static_cast<int32_t>(problem.batch);
    config.num_workers = groups.num_workers;
    config.tile_tokens = kDenseDecodeTileTokens;
    config.piece_cost_tiles = kPieceCostTiles;
    config.fixed_split_tiles = options.batch_invariant ? kFixedSplitTiles : 0;
    config.max_sequence_tiles =
        static_cast<int32_t>(ceil_div<int64_t>(max_tokens, kDenseDecodeTileTokens));
    config.split_cost_tiles = split_cost_tiles(problem, groups);
    config.row_groups = groups.row_groups;
    config.deal_rest = 1;
    return config;
  };
  // Half of the L2 cache: it has two partitions, and what is read from the other one is kept twice.
  const double cache_bytes = static_cast<double>(problem.batch) * static_cast<double>(max_tokens) *
                             static_cast<double>(problem.h_kv * problem.d_qk) * 2.0;
  return config_for(split::choose_row_groups(
      {.row_tiles = dense_decode_row_tiles(problem),
       .h_kv = problem.h_kv,
       .num_sms = device.num_sms,
       .cache_fits_l2 = cache_bytes <= static_cast<double>(device.l2_bytes) / 2.0,
       .config_for = config_for}));
}

}  // namespace

static_assert(kLimits<SEESAW_BFLOAT16>.back().multiple_of == kDenseDecodeTileTokens);

Support supports(const DenseDecodeProblem& problem, const Options& options) {
  if (const std::string asked = options_of(problem); !asked.empty()) {
    return Support::no(asked + " asked for, which it has not");
  }
  const Support shape = supports_dense_decode_shape(problem);
  if (!shape.supported) {
    return shape;
  }
  const Support device = gpu::runs_sm90(options.device.index);
  if (!device.supported) {
    return device;
  }
  if (gpu::driver() == nullptr) {
    return Support::no("the NVIDIA driver has no cuTensorMapEncodeTiled, supported: CUDA 12.0 on");
  }
  return Support::yes();
}

Status plan(const DenseDecodeProblem& problem, const Options& options, KnobValues knobs,
            DenseDecodePlan* plan) {
  const gpu::DeviceProperties& device = *gpu::device_of(options.device.index).properties;
  plan->problem = problem;
  plan->options = options;
  plan->tile_rows = kDenseDecodeTileRows;
  plan->split = split_config(problem, options, device);
  SEESAW_RETURN_IF_ERROR(finish_plan(knobs, plan));
  gpu::Fault* fault = nullptr;  // allocated here, so that no run has to
  SEESAW_RETURN_IF_ERROR(gpu::fault_word(options.device.index, &fault));
  plan->workspace_bytes = geometry_of(*plan).partials.size_bytes() +
                          (options.check_data ? gpu::check_bytes(plan->split) : 0);
  return {};
}

Status prepare(const DenseDecodePlan& plan, const Args& args, const Call& call) {
  const gpu::DeviceGuard guard(plan.options.device.index);
  SEESAW_RETURN_IF_ERROR(
      gpu::status_of(guard.error(), "dense_decode", "selecting the tensors' device"));
  SEESAW_RETURN_IF_ERROR(gpu::take_fault(plan.options.device.index, "dense_decode"));
  const auto stream = static_cast<cudaStream_t>(call.stream);
  if (plan.options.check_data && batch_of(args) > 0) {
    // The schedule buffer is about to be written: until then it holds the report.
    SEESAW_RETURN_IF_ERROR(
        gpu::check_lengths(lengths_to_check(plan.problem, args.seq_lens), call.schedule, stream));
  }
  const gpu::ScheduleCall launch = {
      .config = plan.split,
      .lengths = planned_lengths(plan.problem, args),
      .batch = static_cast<int32_t>(batch_of(args)),
      .schedule = call.schedule,
  };
  return gpu::launch_schedule(launch, stream);
}

Status run_by(FindKernel find, const DenseDecodePlan& plan, const Args& args, const Call& call) {
  if (batch_of(args) == 0) {
    return {};
  }
  const gpu::DeviceGuard guard(plan.options.device.index);
  SEESAW_RETURN_IF_ERROR(
      gpu::status_of(guard.error(), "dense_decode", "selecting the tensors' device"));
  SEESAW_RETURN_IF_ERROR(gpu::take_fault(plan.options.device.index, "dense_decode"));
  const gpu::DeviceAnswer device = gpu::device_of(plan.options.device.index);
  return run_on_current_device(plan, args, call, device.properties->num_sms,
                               find(plan.problem.q_type(), plan.problem.d_qk));
}

Status run(const DenseDecodePlan& plan, const Args& args, const Call& call) {
  return run_by(find_attention_kernel, plan, args, call);
}

}  // namespace seesaw::dense_decode::sm90
