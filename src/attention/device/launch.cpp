#include "attention/device/launch.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numbers>

#include "base/math.hpp"
#include "gpu/combine.hpp"
#include "gpu/faults.hpp"
#include "gpu/score_scale.hpp"

namespace seesaw::attention::device {
namespace {

// The largest of 16, 4 and 1 that divides them all.
template <typename... Numbers>
int32_t unit_of(Numbers... numbers) {
  const uint64_t all = (static_cast<uint64_t>(numbers) | ...);
  return all % 16 == 0 ? 16 : all % 4 == 0 ? 4 : 1;
}

constexpr int32_t kChunkBytes = 16;  // of a row: what is copied or read at a time
constexpr int32_t kChunkColumns = 8;

bool starts_chunk(const Segment& segment) { return segment.offset % kChunkBytes == 0; }

// A record's segments as kernels convert them. Neighbours of one type are one segment.
void set_segments(const Problem& problem, const CacheFormat& format, StreamParams* params) {
  Segment& latent = params->latent = format.latent;
  Segment& rotary = params->rotary = format.rotary;
  if (rotary.type == latent.type && rotary.offset == latent.offset + latent.size_bytes()) {
    latent.count += rotary.count;
    rotary.count = 0;
  }
  params->scales = format.scales;
  params->scaled_columns = format.scaled_columns;
  params->scale_group = gpu::Divisor(static_cast<uint32_t>(format.scale_group));
  const bool whole = problem.d_qk == format.columns();
  const bool one_scale =
      format.scaled_columns == 0 ||
      (format.scaled_columns == latent.count && format.scale_group % kRunColumns == 0 &&
       (format.scales.type == ElementType::kFloat32 ||
        format.scales.type == ElementType::kFloat8E8M0));
  params->runs = whole && latent.type == ElementType::kFloat8E4M3 && starts_chunk(latent) &&
                 latent.count % kRunColumns == 0 && one_scale;
  params->rotary_as_is = whole && !format.tensor_scale && latent.count % kChunkColumns == 0 &&
                         rotary.type == plain_format(problem.q_type, 1).latent.type &&
                         starts_chunk(rotary) && rotary.count % kChunkColumns == 0 &&
                         format.scaled_columns <= latent.count;
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
  set_segments(problem, format, &params);
  params.scale = stream.scale;
  return params;
}

void set_queries(const Problem& problem, const Call& call, Params* params) {
  const Rows& q = call.q;
  params->q = q.data;
  params->q_stride_sequence = q.stride_sequence;
  params->q_stride_token = q.stride_token;
  params->q_stride_head = q.stride_head;
  params->q_unit = unit_of(reinterpret_cast<uintptr_t>(q.data), 2 * q.stride_sequence,
                           2 * q.stride_token, 2 * q.stride_head);
  params->q_columns = static_cast<int32_t>(problem.q_columns());
  if (problem.d_rope == 0) {
    return;  // what q_rotary would have is never read
  }
  const Rows& rotary = call.q_rotary;
  params->q_rotary = rotary.data;
  params->q_rotary_stride_sequence = rotary.stride_sequence;
  params->q_rotary_stride_token = rotary.stride_token;
  params->q_rotary_stride_head = rotary.stride_head;
  params->q_unit =
      unit_of(params->q_unit, reinterpret_cast<uintptr_t>(rotary.data), 2 * rotary.stride_sequence,
              2 * rotary.stride_token, 2 * rotary.stride_head);
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

}  // namespace

Geometry geometry_of(const Plan& plan) {
  const Problem& problem = plan.attention;
  Geometry geometry;
  geometry.group = static_cast<int32_t>(problem.group());
  geometry.rows = static_cast<int32_t>(problem.rows());
  const int32_t row_tiles = ceil_div(geometry.rows, plan.tile_rows);
  geometry.group_tiles = ceil_div(row_tiles, plan.split.row_groups);
  geometry.partials = {.num_slots = split::max_partials(plan.split),
                       .h_kv = problem.h_kv,
                       .rows_per_head = plan.split.row_groups == 1
                                            ? geometry.rows
                                            : geometry.group_tiles * plan.tile_rows,
                       .d_v = problem.d_v};
  return geometry;
}

Status fill_params(const Plan& plan, const Geometry& geometry, const Call& call, Params* params) {
  const Problem& problem = plan.attention;
  SEESAW_RETURN_IF_ERROR(gpu::fault_word(plan.options.device.index, &params->fault));
  params->num_streams = static_cast<int32_t>(problem.num_streams);
  for (size_t s = 0; s < problem.num_streams; ++s) {
    params->streams[s] = stream_params(problem, problem.streams[s], call.streams[s]);
  }
  set_scores(problem, call, params);
  set_queries(problem, call, params);
  set_results(problem, call, params);
  set_masks(problem, call, params);
  set_schedule(plan, geometry, call, params);
  params->d_qk = static_cast<int32_t>(problem.d_qk);
  params->d_v = static_cast<int32_t>(problem.d_v);
  params->s_q = static_cast<int32_t>(problem.s_q);
  params->h_kv = static_cast<int32_t>(problem.h_kv);
  params->group = gpu::Divisor(static_cast<uint32_t>(geometry.group));
  params->items_per_sequence = gpu::Divisor(static_cast<uint32_t>(problem.items_per_sequence));
  params->group_tiles = geometry.group_tiles;
  return {};
}

dim3 grid_of(const Plan& plan, const Geometry& geometry) {
  return dim3(static_cast<unsigned>(geometry.group_tiles),
              static_cast<unsigned>(plan.attention.h_kv),
              static_cast<unsigned>(plan.split.num_workers));
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

}  // namespace seesaw::attention::device
