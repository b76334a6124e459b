// Host side of sm90.dense_decode: from a plan and the tensors of one call to the kernel's
// parameters.
#include "ops/dense_decode/sm90/launch.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>
#include <string>

#include "gpu/combine.hpp"
#include "gpu/faults.hpp"
#include "gpu/score_scale.hpp"
#include "gpu/tensor_map.hpp"

namespace seesaw::dense_decode::sm90 {
namespace {

static_assert(kDenseDecodeTileTokens == kTileTokens && kDenseDecodeTileRows == kTileRows);

// TMA: global addresses and strides are multiples of 16 bytes, strides below 2^40.
constexpr int64_t kTmaAlignment = 16;
constexpr int64_t kTmaMaxStride = int64_t{1} << 40;

std::string text(int64_t value) { return std::to_string(value); }

bool tma_stride_ok(int64_t elements) {
  const int64_t per_unit = kTmaAlignment / size_of(DType::kBFloat16);
  return elements > 0 && elements % per_unit == 0 &&
         elements < kTmaMaxStride / size_of(DType::kBFloat16);
}

bool aligned_16(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

// Whether every row [.., .., .., :] of a 16-bit tensor starts on 16 bytes.
bool rows_aligned(const Tensor& tensor) {
  bool aligned = aligned_16(tensor.data);
  for (size_t i = 0; i + 1 < static_cast<size_t>(tensor.rank); ++i) {
    aligned = aligned && tensor.stride[i] % 8 == 0;
  }
  return aligned;
}

uint64_t extent(int64_t value) { return static_cast<uint64_t>(std::max<int64_t>(value, 1)); }

// A dimension of size 1 is never stepped along: any valid stride will do.
int64_t stride_or(int64_t size, int64_t stride, int64_t otherwise) {
  return size == 1 ? otherwise : stride;
}

Status set_kv_maps(const DenseDecodeProblem& problem, const Tensor& kv, int copy_boxes,
                   DenseDecodeParams* params) {
  const uint64_t boxes = static_cast<uint64_t>(problem.d_qk / kBoxColumns);
  gpu::BoxMap map{
      .data = kv.data,
      .shape = {kBoxColumns, extent(problem.page_size), boxes, extent(problem.h_kv),
                extent(kv.shape[0])},
      .stride = {kv.stride[1], kBoxColumns, stride_or(problem.h_kv, kv.stride[2], problem.d_qk),
                 stride_or(kv.shape[0], kv.stride[0], problem.d_qk)},
      .box = {kBoxColumns, kTileTokens, static_cast<uint32_t>(copy_boxes), 1, 1},
      .dtype = problem.kv_type()};
  SEESAW_RETURN_IF_ERROR(gpu::make_tensor_map(map, "kv_cache", &params->kv_map));
  map.box[2] = 1;
  return gpu::make_tensor_map(map, "kv_cache", &params->kv_rotary_map);
}

// The queries in two parts, wherever the second one is: the values' columns, and the rotary ones.
struct Queries {
  Tensor values;
  Tensor rotary;
};

Queries queries_of(const DenseDecodeProblem& problem, const Args& args) {
  if (problem.d_rope > 0) {
    return {args.q, args.q_rotary};
  }
  Queries queries = {args.q, args.q};
  queries.values.shape[3] = problem.d_v;
  queries.rotary.shape[3] = problem.d_qk - problem.d_v;
  queries.rotary.data = static_cast<uint16_t*>(args.q.data) + problem.d_v;
  return queries;
}

bool strides_are_boxes(const Tensor& q) {
  bool boxes = aligned_16(q.data);
  for (size_t i = 0; i < 3; ++i) {
    boxes = boxes && (q.shape[i] == 1 || tma_stride_ok(q.stride[i]));
  }
  return boxes;
}

// Whether a tile's 64 packed rows are a box of heads and tokens, where TMA can fetch them.
bool queries_are_boxes(const Geometry& geometry, const Queries& q, float q_factor) {
  const auto group = static_cast<uint32_t>(geometry.group);
  const bool divides = group < kTileRows && std::has_single_bit(group);
  return q_factor == 1.0F && (group % kTileRows == 0 || divides) && strides_are_boxes(q.values) &&
         strides_are_boxes(q.rotary);
}

// Boxes of one part, `boxes` at a time.
Status set_q_map(const Geometry& geometry, const Tensor& q, DType dtype, uint32_t boxes,
                 CUtensorMap* to) {
  const int32_t heads = std::min(geometry.group, kTileRows);
  const int64_t columns = q.shape[3];
  const gpu::BoxMap map{.data = q.data,
                        .shape = {kBoxColumns, extent(q.shape[2]), extent(q.shape[1]),
                                  static_cast<uint64_t>(columns / kBoxColumns), extent(q.shape[0])},
                        .stride = {stride_or(q.shape[2], q.stride[2], columns),
                                   stride_or(q.shape[1], q.stride[1], columns), kBoxColumns,
                                   stride_or(q.shape[0], q.stride[0], columns)},
                        .box = {kBoxColumns, static_cast<uint32_t>(heads),
                                static_cast<uint32_t>(kTileRows / heads), boxes, 1},
                        .dtype = dtype};
  return gpu::make_tensor_map(map, "q", to);
}

Status set_q_maps(const DenseDecodeProblem& problem, const Geometry& geometry, const Queries& q,
                  DenseDecodeParams* params) {
  params->q_half_map = {};
  params->q_rotary_map = {};
  if (!params->q_by_tma) {
    return {};
  }
  SEESAW_RETURN_IF_ERROR(
      set_q_map(geometry, q.values, problem.q_type(), kHalfBoxes, &params->q_half_map));
  return q.rotary.shape[3] == 0
             ? Status()
             : set_q_map(geometry, q.rotary, problem.q_type(), 1, &params->q_rotary_map);
}

QueryPart part_of(const Tensor& q) { return {q.data, q.stride[0], q.stride[1], q.stride[2]}; }

void set_queries(const Queries& q, DenseDecodeParams* params) {
  params->q[0] = part_of(q.values);
  params->q[1] = part_of(q.rotary);
  params->q_aligned = rows_aligned(q.values) && rows_aligned(q.rotary);
}

void set_tensors(const Args& args, DenseDecodeParams* params) {
  params->kv = args.kv_cache.data;
  params->kv_stride_page = args.kv_cache.stride[0];
  params->kv_stride_token = args.kv_cache.stride[1];
  params->kv_stride_head = args.kv_cache.stride[2];
  params->out = args.out.data;
  params->out_stride_batch = args.out.stride[0];
  params->out_stride_token = args.out.stride[1];
  params->out_stride_head = args.out.stride[2];
  params->out_aligned = rows_aligned(args.out);
  params->lse = static_cast<float*>(args.lse.data);
  params->lse_stride_batch = args.lse.stride[0];
  params->lse_stride_head = args.lse.stride[1];
  params->lse_stride_token = args.lse.stride[2];
  params->seq_lens = static_cast<const int32_t*>(args.seq_lens.data);
  params->seq_len_stride = args.seq_lens.stride[0];
  params->block_table = static_cast<const int32_t*>(args.block_table.data);
  params->block_table_stride = args.block_table.stride[0];
}

float lse_factor(const DenseDecodeProblem& problem) {
  return problem.lse() == LseBase::kNatural ? std::numbers::ln2_v<float> : 1.0F;
}

float empty_lse(const DenseDecodeProblem& problem) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  return problem.lse_if_empty() == EmptyLse::kNegativeInfinity ? -kInfinity : kInfinity;
}

void set_problem(const DenseDecodeProblem& problem, const Geometry& geometry,
                 const gpu::ScoreScale& scales, DenseDecodeParams* params) {
  params->scale_log2 = scales.scale_log2;
  params->q_factor = scales.q_factor;
  params->causal = problem.mask() == Mask::kCausal;
  params->lse_factor = lse_factor(problem);
  params->empty_lse = empty_lse(problem);
  params->s_q = static_cast<int32_t>(problem.s_q);
  params->group = gpu::Divisor(static_cast<uint32_t>(geometry.group));
  params->rows = geometry.rows;
  params->row_tiles = geometry.row_tiles;
  params->group_tiles = geometry.group_tiles;
  params->h_kv = static_cast<int32_t>(problem.h_kv);
  params->tiles_per_page = gpu::Divisor(static_cast<uint32_t>(problem.page_size / kTileTokens));
}

void set_schedule(const DenseDecodePlan& plan, const Geometry& geometry, const Call& call,
                  DenseDecodeParams* params) {
  params->schedule_tag = split::schedule_tag(plan.split, params->batch);
  // The schedule is only read; the view has no const form.
  const split::ScheduleView schedule =
      split::schedule_view(const_cast<void*>(call.schedule), plan.split);
  params->worker_pieces = schedule.worker_pieces;
  params->pieces = schedule.pieces;
  params->partials = geometry.partials;
  char* workspace = static_cast<char*>(call.workspace);
  params->partial_out = reinterpret_cast<uint4*>(workspace + params->partials.out_offset());
  params->partial_stat =
      reinterpret_cast<gpu::PartialStat*>(workspace + params->partials.stat_offset());
}

}  // namespace

Support supports_dense_decode_shape(const DenseDecodeProblem& problem) {
  if (!tma_stride_ok(problem.kv_page_stride) || !tma_stride_ok(problem.kv_token_stride) ||
      (problem.h_kv > 1 && !tma_stride_ok(problem.kv_head_stride))) {
    return Support::no("cache strides " + text(problem.kv_page_stride) + ", " +
                       text(problem.kv_token_stride) + ", " + text(problem.kv_head_stride) +
                       ", needs positive multiples of 8 elements below 2^39");
  }
  if (problem.d_rope != 0 && problem.d_qk - problem.d_rope != problem.d_v) {
    return Support::no("d_rope = " + text(problem.d_rope) +
                       ", needs 0 or d_qk - d_v = " + text(problem.d_qk - problem.d_v));
  }
  constexpr int64_t kMaxRows = std::numeric_limits<int32_t>::max() - kTileRows;
  if (problem.rows() > kMaxRows || problem.h_kv > kMaxRows / dense_decode_row_tiles(problem)) {
    return Support::no("s_q * h_q = " + text(problem.s_q * problem.h_q) +
                       ", needs less than 2^31 query rows");
  }
  constexpr int64_t kMaxGridY = 65535;  // CUDA programming guide: the grid's second dimension
  if (problem.h_kv > kMaxGridY) {
    return Support::no("h_kv = " + text(problem.h_kv) + ", needs at most 65535");
  }
  return Support::yes();
}

Geometry geometry_of(const DenseDecodePlan& plan) {
  const DenseDecodeProblem& problem = plan.problem;
  const auto h_q = static_cast<int32_t>(problem.h_q);
  const auto h_kv = static_cast<int32_t>(problem.h_kv);
  const int32_t row_groups = plan.split.row_groups;
  Geometry geometry;
  geometry.group = h_kv == 1 ? h_q : h_q / h_kv;
  geometry.rows = static_cast<int32_t>(problem.s_q) * geometry.group;
  geometry.row_tiles = ceil_div(geometry.rows, kTileRows);
  geometry.group_tiles =
      row_groups == 1 ? geometry.row_tiles : ceil_div(geometry.row_tiles, row_groups);
  // A slot holds a row group; if there are several, whole tiles of them.
  geometry.partials = {
      .num_slots = split::max_partials(plan.split),
      .h_kv = h_kv,
      .rows_per_head = row_groups == 1 ? geometry.rows : geometry.group_tiles * kTileRows,
      .d_v = problem.d_v};
  return geometry;
}

Status check_alignment(const Args& args) {
  if (aligned_16(args.kv_cache.data)) {
    return {};
  }
  const auto address = reinterpret_cast<uintptr_t>(args.kv_cache.data);
  return invalid_argument(
      "dense_decode: kv_cache at an address of " + std::to_string(address % 16) +
      " modulo 16, allowed: multiples of 16 bytes. Start the cache on an aligned address.");
}

Status launch_dense_decode(const DenseDecodePlan& plan, const Geometry& geometry, const Args& args,
                           const Call& call, const AttentionKernel& kernel) {
  const DenseDecodeProblem& problem = plan.problem;
  DenseDecodeParams params;  // not cleared first, which took longer than filling it (notebook 0071)
  SEESAW_RETURN_IF_ERROR(set_kv_maps(problem, args.kv_cache, kernel.copy_boxes, &params));
  const gpu::ScoreScale scales = gpu::score_scale_of(problem.q_type(), args.scale);
  SEESAW_RETURN_IF_ERROR(gpu::fault_word(plan.options.device.index, &params.fault));
  const Queries q = queries_of(problem, args);
  params.q_by_tma = queries_are_boxes(geometry, q, scales.q_factor);
  SEESAW_RETURN_IF_ERROR(set_q_maps(problem, geometry, q, &params));
  set_queries(q, &params);
  set_tensors(args, &params);
  params.batch = static_cast<int32_t>(batch_of(args));
  set_problem(problem, geometry, scales, &params);
  set_schedule(plan, geometry, call, &params);
  const dim3 grid(static_cast<unsigned>(params.group_tiles), static_cast<unsigned>(params.h_kv),
                  static_cast<unsigned>(plan.split.num_workers));
  return kernel.launch(params, {.grid = grid,
                                .device = plan.options.device.index,
                                .stream = static_cast<cudaStream_t>(call.stream)});
}

Status combine_dense_decode(const DenseDecodePlan& plan, const Geometry& geometry, const Args& args,
                            const Call& call, int32_t num_sms) {
  const Tensor& out = args.out;
  const Tensor& lse = args.lse;
  return gpu::launch_combine({.split = plan.split,
                              .schedule = call.schedule,
                              .batch = static_cast<int32_t>(batch_of(args)),
                              .partials = geometry.partials,
                              .workspace = call.workspace,
                              .group = geometry.group,
                              .rows = geometry.rows,
                              .out_dtype = plan.problem.q_type(),
                              .out = out.data,
                              .out_stride = {out.stride[0], out.stride[1], out.stride[2]},
                              .lse = static_cast<float*>(lse.data),
                              .lse_stride = {lse.stride[0], lse.stride[1], lse.stride[2]},
                              .lse_factor = lse_factor(plan.problem),
                              .empty_lse = empty_lse(plan.problem),
                              .num_sms = num_sms,
                              .stream = static_cast<cudaStream_t>(call.stream)});
}

}  // namespace seesaw::dense_decode::sm90
