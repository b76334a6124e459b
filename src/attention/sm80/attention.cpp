#include "attention/sm80/attention.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>
#include <string>

#include "attention/host.hpp"
#include "attention/sm80/kernels.hpp"
#include "base/math.hpp"
#include "gpu/check_data.hpp"
#include "gpu/combine.hpp"
#include "gpu/device.hpp"
#include "gpu/faults.hpp"
#include "gpu/schedule.hpp"
#include "gpu/score_scale.hpp"
#include "split/row_groups.hpp"

namespace seesaw::attention::sm80 {
namespace {

constexpr char kWhere[] = "attention (sm80)";

// What starting and ending a piece costs, in tiles of work, and how long batch-invariant splits
// are: docs/decisions/0015-gpu-split-costs.md, for tiles of half as many tokens.
constexpr int32_t kPieceCostTiles = 6;
constexpr int32_t kFixedSplitTiles = 64;

constexpr int32_t kNarrowColumns = 256;
constexpr int32_t kWideColumns = 512;

int32_t value_columns(const Problem& problem) {
  const bool narrow =
      problem.d_v <= kNarrowColumns && problem.d_qk <= kNarrowColumns + kRotaryColumns;
  return narrow ? kNarrowColumns : kWideColumns;
}

const Instance& instance_for(const Problem& problem, int32_t tile_rows) {
  return find_instance({.type = problem.q_type,
                        .converts = converts(problem),
                        .value_columns = value_columns(problem),
                        .tile_rows = tile_rows});
}

// Shared memory for each of `blocks` thread blocks of an SM, of which CUDA keeps 1 KB a block.
int32_t shared_bytes_of_block(const gpu::DeviceProperties& device, int32_t blocks) {
  constexpr int32_t kKept = 1 << 10;
  return (device.max_shared_bytes + kKept) / blocks - kKept;
}

// Blocks of 16 rows share an SM by twos, where the layout allows it.
int32_t blocks_per_sm(const Instance& instance) { return 2 / instance.numbers.row_warps; }

struct Choice {
  const Instance* instance;
  int32_t blocks;        // of an SM
  int32_t shared_bytes;  // that a block may take
};

Choice choose(const Problem& problem, const gpu::DeviceProperties& device, int32_t tile_rows,
              int32_t most_bytes) {
  const Instance& instance = instance_for(problem, tile_rows);
  int32_t blocks = blocks_per_sm(instance);
  int32_t bytes = std::min(shared_bytes_of_block(device, blocks), most_bytes);
  if (blocks > 1 && layout_for(problem, instance.numbers, bytes).bytes == 0) {
    blocks = 1;
    bytes = std::min(shared_bytes_of_block(device, blocks), most_bytes);
  }
  return {&instance, blocks, bytes};
}

int32_t tile_rows_of(const Problem& problem) {
  return problem.rows() <= kWarpRows ? kWarpRows : 2 * kWarpRows;
}

// As sm90.dense_decode's: the combine's own time, and the partials of up to two pieces a worker,
// written and read.
int32_t split_cost_tiles(const Problem& problem, const split::RowGroups& groups,
                         int32_t tile_rows) {
  const int64_t rows_of_group = std::min(problem.rows(), groups.group_tiles * int64_t{tile_rows});
  const double rows = static_cast<double>(problem.h_kv * rows_of_group);
  const double cost_us = 2.0 + static_cast<double>(groups.num_workers) * rows / 600.0;
  constexpr double kTileUs = 1.0;
  return static_cast<int32_t>(cost_us / kTileUs);
}

split::SplitConfig split_config(const Problem& problem, const Options& options,
                                const gpu::DeviceProperties& device, const Choice& choice) {
  const int32_t tile_rows = choice.instance->numbers.tile_rows();
  const auto config_for = [&](const split::RowGroups& groups) {
    split::SplitConfig config = split_config_of(problem, kTileTokens, groups.num_workers);
    config.piece_cost_tiles = kPieceCostTiles;
    config.fixed_split_tiles = options.batch_invariant ? kFixedSplitTiles : 0;
    config.split_cost_tiles = split_cost_tiles(problem, groups, tile_rows);
    config.row_groups = groups.row_groups;
    config.deal_rest = 1;
    return config;
  };
  double cache_bytes = 0.0;
  for (size_t s = 0; s < problem.num_streams; ++s) {
    cache_bytes += static_cast<double>(problem.items) *
                   static_cast<double>(planned_tokens(problem, s) * problem.h_kv) *
                   problem.streams[s].format.row_bytes;
  }
  return config_for(split::choose_row_groups(
      {.row_tiles = ceil_div<int64_t>(problem.rows(), tile_rows),
       .h_kv = problem.h_kv,
       .num_sms = device.num_sms * choice.blocks,
       .cache_fits_l2 = cache_bytes <= static_cast<double>(device.l2_bytes) / 2.0,
       .config_for = config_for}));
}

// What a launch and the combine need of a plan.
struct Geometry {
  int32_t group;        // query heads of a KV head
  int32_t rows;         // query rows of a KV head
  int32_t row_tiles;    // of a KV head
  int32_t group_tiles;  // row tiles of a row group (split/row_groups.hpp)
  gpu::PartialLayout partials;
};

Geometry geometry_of(const Plan& plan) {
  const Problem& problem = plan.attention;
  Geometry geometry;
  geometry.group = static_cast<int32_t>(problem.group());
  geometry.rows = static_cast<int32_t>(problem.rows());
  geometry.row_tiles = ceil_div(geometry.rows, plan.tile_rows);
  geometry.group_tiles = ceil_div(geometry.row_tiles, plan.split.row_groups);
  geometry.partials = {.num_slots = split::max_partials(plan.split),
                       .h_kv = problem.h_kv,
                       .rows_per_head = plan.split.row_groups == 1
                                            ? geometry.rows
                                            : geometry.group_tiles * plan.tile_rows,
                       .d_v = problem.d_v};
  return geometry;
}

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

// The largest of 16, 4 and 1 that divides them all.
template <typename... Numbers>
int32_t unit_of(Numbers... numbers) {
  const uint64_t all = (static_cast<uint64_t>(numbers) | ...);
  return all % 16 == 0 ? 16 : all % 4 == 0 ? 4 : 1;
}

StreamParams stream_params(const Problem& problem, const StreamShape& shape, const Stream& stream) {
  const CacheFormat& format = shape.format;
  StreamParams params = {};
  params.cache = static_cast<const std::byte*>(stream.cache);
  params.page_stride = stream.page_stride_bytes;
  params.row_stride = stream.row_stride_bytes;
  params.head_stride = stream.head_stride_bytes;
  params.ids = stream.ids;
  params.ids_stride_sequence = stream.ids_stride_sequence;
  params.ids_stride_token = stream.ids_stride_token;
  params.lengths = stream.lengths;
  params.lengths_stride = stream.lengths_stride;
  params.slots = static_cast<uint32_t>(
      std::min<int64_t>(stream.pages * shape.page_size, std::numeric_limits<int32_t>::max()));
  params.most = static_cast<int32_t>(
      std::min<int64_t>(shape.most_tokens, std::numeric_limits<int32_t>::max()));
  params.page_size = gpu::Divisor(static_cast<uint32_t>(shape.page_size));
  params.indices = shape.kind == StreamKind::kIndices;
  params.copy_bytes = format.row_bytes;
  const auto address = reinterpret_cast<uintptr_t>(stream.cache);
  params.unit = unit_of(address, stream.page_stride_bytes, stream.row_stride_bytes,
                        problem.h_kv > 1 ? stream.head_stride_bytes : 0, format.row_bytes);
  params.tails = shape.page_size * stream.row_stride_bytes;
  params.tail_bytes = format.tail_bytes;
  params.tail_unit = unit_of(params.unit, params.tails, format.tail_bytes);
  params.latent = format.latent;
  params.rotary = format.rotary;
  params.scales = format.scales;
  params.scaled_columns = format.scaled_columns;
  params.scale_group = gpu::Divisor(static_cast<uint32_t>(format.scale_group));
  params.scale = stream.scale;
  return params;
}

struct Strides {
  int64_t sequence, token, head;
};

void set_queries(const Problem& problem, const Rows& q, Params* params) {
  params->q = q.data;
  params->q_stride_sequence = q.stride_sequence;
  params->q_stride_token = q.stride_token;
  params->q_stride_head = q.stride_head;
  const bool whole_words = unit_of(reinterpret_cast<uintptr_t>(q.data), 2 * q.stride_sequence,
                                   2 * q.stride_token, 2 * q.stride_head) >= 4;
  params->q_plain =
      params->q_factor == 1.0F && whole_words && problem.d_qk >= value_columns(problem);
}

void set_results(const Problem& problem, const Call& call, Params* params) {
  params->out = call.out.data;
  params->out_stride_sequence = call.out.stride_sequence;
  params->out_stride_token = call.out.stride_token;
  params->out_stride_head = call.out.stride_head;
  params->out_aligned =
      unit_of(reinterpret_cast<uintptr_t>(call.out.data), 2 * call.out.stride_sequence,
              2 * call.out.stride_token, 2 * call.out.stride_head, 2 * problem.d_v) == 16;
  params->lse = static_cast<float*>(call.lse.data);
  params->lse_stride_sequence = call.lse.stride_sequence;
  params->lse_stride_token = call.lse.stride_token;
  params->lse_stride_head = call.lse.stride_head;
  params->max_logits = static_cast<float*>(call.max_logits.data);
  params->max_logits_stride_sequence = call.max_logits.stride_sequence;
  params->max_logits_stride_token = call.max_logits.stride_token;
  params->max_logits_stride_head = call.max_logits.stride_head;
}

float lse_factor(const Problem& problem) {
  return problem.lse_base == LseBase::kNatural ? std::numbers::ln2_v<float> : 1.0F;
}

float empty_lse(const Problem& problem) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  return problem.empty_lse == EmptyLse::kNegativeInfinity ? -kInfinity : kInfinity;
}

void set_scores(const Problem& problem, const Call& call, Params* params) {
  const gpu::ScoreScale scale = gpu::score_scale_of(problem.q_type, call.scale);
  params->scale_log2 = scale.scale_log2;
  params->q_factor = scale.q_factor;
  const bool capped = problem.soft_cap && call.soft_cap > 0.0F;
  params->cap_log2 = capped ? call.soft_cap * std::numbers::log2e_v<float> : 0.0F;
  // Of a score as the product gives it: q_factor is in it already.
  params->inverse_cap =
      capped ? scale.scale_log2 * std::numbers::ln2_v<float> / call.soft_cap : 0.0F;
  params->lse_factor = lse_factor(problem);
  params->empty_lse = empty_lse(problem);
}

void set_masks(const Problem& problem, const Call& call, Params* params) {
  params->query_begin = problem.ragged ? call.query_begin : nullptr;
  params->tree_mask = problem.masks.tree ? call.tree_mask : nullptr;
  params->tree_stride_sequence = call.tree_stride_sequence;
  params->tree_stride_token = call.tree_stride_token;
  params->sinks = problem.sinks ? call.sinks : nullptr;
  params->causal = problem.masks.causal;
  params->window = static_cast<int32_t>(
      std::min<int64_t>(problem.masks.window, std::numeric_limits<int32_t>::max()));
  params->planned_tokens = static_cast<int32_t>(
      std::min<int64_t>(planned_tokens(problem, 0), std::numeric_limits<int32_t>::max()));
}

void set_schedule(const Plan& plan, const Geometry& geometry, const Call& call, Params* params) {
  params->items = static_cast<int32_t>(call.items);
  params->schedule_tag = split::schedule_tag(plan.split, params->items);
  // The schedule is only read; the view has no const form.
  const split::ScheduleView schedule =
      split::schedule_view(const_cast<void*>(call.schedule), plan.split);
  params->worker_pieces = schedule.worker_pieces;
  params->pieces = schedule.pieces;
  params->partials = geometry.partials;
  char* workspace = static_cast<char*>(call.workspace);
  params->partial_out = reinterpret_cast<uint4*>(workspace + geometry.partials.out_offset());
  params->partial_stat =
      reinterpret_cast<gpu::PartialStat*>(workspace + geometry.partials.stat_offset());
}

Status launch_attention(const Plan& plan, const Geometry& geometry, const Call& call,
                        gpu::Edge edge, cudaStream_t stream) {
  const Problem& problem = plan.attention;
  const Instance& instance = instance_for(problem, plan.tile_rows);
  Params params = {};
  SEESAW_RETURN_IF_ERROR(gpu::fault_word(plan.options.device.index, &params.fault));
  params.num_streams = static_cast<int32_t>(problem.num_streams);
  for (size_t s = 0; s < problem.num_streams; ++s) {
    params.streams[s] = stream_params(problem, problem.streams[s], call.streams[s]);
  }
  params.shared = layout_for(problem, instance.numbers, plan.variant);
  set_scores(problem, call, &params);
  set_queries(problem, call.q, &params);
  set_results(problem, call, &params);
  set_masks(problem, call, &params);
  set_schedule(plan, geometry, call, &params);
  params.d_qk = static_cast<int32_t>(problem.d_qk);
  params.d_v = static_cast<int32_t>(problem.d_v);
  params.s_q = static_cast<int32_t>(problem.s_q);
  params.h_kv = static_cast<int32_t>(problem.h_kv);
  params.group = gpu::Divisor(static_cast<uint32_t>(geometry.group));
  params.items_per_sequence = gpu::Divisor(static_cast<uint32_t>(problem.items_per_sequence));
  params.row_tiles = geometry.row_tiles;
  params.group_tiles = geometry.group_tiles;
  return instance.launch(params, {.grid = dim3(static_cast<unsigned>(params.group_tiles),
                                               static_cast<unsigned>(params.h_kv),
                                               static_cast<unsigned>(plan.split.num_workers)),
                                  .device = plan.options.device.index,
                                  .edge = edge,
                                  .stream = stream});
}

Status launch_combine(const Plan& plan, const Geometry& geometry, const Call& call,
                      const gpu::DeviceProperties& device, cudaStream_t stream) {
  const Problem& problem = plan.attention;
  const Rows& out = call.out;
  const Rows& lse = call.lse;
  const Rows& top = call.max_logits;
  return gpu::launch_combine(
      {.split = plan.split,
       .schedule = call.schedule,
       .batch = static_cast<int32_t>(call.items),
       .items_per_sequence = static_cast<int32_t>(problem.items_per_sequence),
       .query_begin = problem.ragged ? call.query_begin : nullptr,
       .partials = geometry.partials,
       .workspace = call.workspace,
       .group = geometry.group,
       .rows = geometry.rows,
       .out_dtype = problem.q_type,
       .out = out.data,
       .out_stride = {out.stride_sequence, out.stride_token, out.stride_head},
       .lse = static_cast<float*>(lse.data),
       .lse_stride = {lse.stride_sequence, lse.stride_head, lse.stride_token},
       .lse_factor = lse_factor(problem),
       .empty_lse = empty_lse(problem),
       .max_logits = static_cast<float*>(top.data),
       .max_logits_stride = {top.stride_sequence, top.stride_head, top.stride_token},
       .sinks = problem.sinks ? call.sinks : nullptr,
       .num_sms = device.num_sms,
       .edge = gpu::portable_edge(device),
       .stream = stream});
}

Support supports_numbers(const Problem& problem) {
  if (problem.q_type == DType::kFloat32) {
    return Support::no("q_dtype = float32, supported: bfloat16, float16");
  }
  if (problem.d_v > kWideColumns || problem.d_qk > kWideColumns + kRotaryColumns) {
    return Support::no("d_qk = " + std::to_string(problem.d_qk) +
                       ", d_v = " + std::to_string(problem.d_v) + ", supported: up to 576 and 512");
  }
  constexpr int64_t kMostRows = std::numeric_limits<int32_t>::max() - 2 * kWarpRows;
  if (problem.rows() > kMostRows) {
    return Support::no("s_q * h_q = " + std::to_string(problem.s_q * problem.h_q) +
                       ", supported: less than 2^31 query rows");
  }
  constexpr int64_t kMostGridY = 65535;  // CUDA programming guide: the grid's second dimension
  if (problem.h_kv > kMostGridY) {
    return Support::no("h_kv = " + std::to_string(problem.h_kv) + ", supported: up to 65535");
  }
  return Support::yes();
}

}  // namespace

const Instance& find_instance(const InstanceKey& key) {
  const bool bf16 = key.type == DType::kBFloat16;
  const std::span<const Instance> instances =
      key.converts ? (bf16 ? bf16_converting_instances() : fp16_converting_instances())
                   : (bf16 ? bf16_instances() : fp16_instances());
  for (const Instance& instance : instances) {
    if (instance.numbers.value_columns == key.value_columns &&
        instance.numbers.tile_rows() == key.tile_rows) {
      return instance;
    }
  }
  return instances.front();
}

Support supports(const Problem& problem, const Options& options) {
  const Support numbers = supports_numbers(problem);
  if (!numbers.supported) {
    return numbers;
  }
  const Support device = gpu::runs_sm80(options.device.index);
  if (!device.supported) {
    return device;
  }
  const gpu::DeviceProperties& properties = *gpu::device_of(options.device.index).properties;
  const Choice choice =
      choose(problem, properties, tile_rows_of(problem), properties.max_shared_bytes);
  if (layout_for(problem, choice.instance->numbers, choice.shared_bytes).bytes == 0) {
    return Support::no("a tile of the cache does not fit into the " +
                       std::to_string(properties.max_shared_bytes / 1024) +
                       " KB of shared memory of a thread block");
  }
  return Support::yes();
}

Status plan(const Problem& problem, const Options& options, KnobValues knobs, Plan* plan) {
  const gpu::DeviceProperties& device = *gpu::device_of(options.device.index).properties;
  const auto knob = [&](size_t which, int32_t otherwise) {
    return knobs.size() > which && knobs[which] != kUnset ? knobs[which] : otherwise;
  };
  plan->attention = problem;
  plan->options = options;
  plan->tile_rows = knob(kTileRowsKnob, tile_rows_of(problem));
  const Choice choice =
      choose(problem, device, plan->tile_rows, knob(kSharedBytesKnob, device.max_shared_bytes));
  plan->variant = choice.shared_bytes;
  if (layout_for(problem, choice.instance->numbers, choice.shared_bytes).bytes == 0) {
    return invalid_argument(std::string(kWhere) +
                            ": shared_bytes = " + std::to_string(choice.shared_bytes) +
                            ", needed: a tile of the cache and one that is converted from it. "
                            "Allow more.");
  }
  plan->split = split_config(problem, options, device, choice);
  SEESAW_RETURN_IF_ERROR(finish_plan(knobs, plan));
  gpu::Fault* fault = nullptr;  // allocated here, so that no run has to
  SEESAW_RETURN_IF_ERROR(gpu::fault_word(options.device.index, &fault));
  plan->workspace_bytes =
      workspace_bytes(*plan) + (options.check_data ? gpu::check_bytes(plan->split) : 0);
  return {};
}

uint64_t workspace_bytes(const Plan& plan) { return geometry_of(plan).partials.size_bytes(); }

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

Status run(const Plan& plan, const Call& call, void* stream) {
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
  SEESAW_RETURN_IF_ERROR(
      launch_attention(plan, geometry, call, gpu::portable_edge(device), cuda_stream));
  return launch_combine(plan, geometry, call, device, cuda_stream);
}

}  // namespace seesaw::attention::sm80
