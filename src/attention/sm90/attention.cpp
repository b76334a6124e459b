#include "attention/sm90/attention.hpp"

#include <string>

#include "attention/device/plan.hpp"
#include "attention/device/run.hpp"
#include "attention/device/trace.hpp"
#include "attention/sm90/host.hpp"
#include "gpu/device.hpp"

namespace seesaw::attention::sm90 {
namespace {

Support supports_stream(const Problem& problem, const StreamShape& stream, bool converts) {
  const CacheFormat& format = stream.format;
  const bool known = converts ? problem.q_type == DType::kBFloat16 && boxes_of(format).has_value()
                              : copies(format, problem.q_type);
  if (!known) {
    return Support::no(std::string("kv_format = ") + format.name +
                       " with q_dtype = " + name_of(problem.q_type) +
                       ", supported: rows of q_dtype, or e4m3 records with bfloat16 queries, in "
                       "both caches");
  }
  if (stream.page_stride_bytes % kChunkBytes != 0 || stream.row_stride_bytes % kChunkBytes != 0 ||
      stream.head_stride_bytes % kChunkBytes != 0) {
    return Support::no("cache strides of " + std::to_string(stream.page_stride_bytes) + ", " +
                       std::to_string(stream.row_stride_bytes) + " and " +
                       std::to_string(stream.head_stride_bytes) +
                       " bytes, supported: multiples of 16");
  }
  return Support::yes();
}

AttentionKernel find_attention_kernel(const Plan& plan) {
  return find(plan.tile_rows == kTileRows ? seesaw_instances() : swapped_instances(), plan);
}
AttentionKernel find_traced_kernel(const Plan& plan) { return find(traced_instances(), plan); }

// 16 bytes are copied at a time, and rows are numbered by 32 bits.
Status check_cache(const Problem& problem, const Call& call, size_t number) {
  const Stream& stream = call.streams[number];
  const char* name = number == 0 ? "the cache" : "the extra cache";
  SEESAW_RETURN_IF_ERROR(check_address(stream, name));
  if (!row_numbers_of(stream, problem.h_kv).has_value()) {
    return invalid_argument(std::string("attention (sm90): ") + name + " of " +
                            std::to_string(stream.pages) + " pages of " +
                            std::to_string(stream.page_stride_bytes) +
                            " bytes, allowed: up to 2^32 times the strides' greatest common "
                            "divisor. Ask for the kernel of sm80.");
  }
  return {};
}

Status check_caches(const Problem& problem, const Call& call) {
  for (size_t s = 0; s < problem.num_streams; ++s) {
    SEESAW_RETURN_IF_ERROR(check_cache(problem, call, s));
  }
  return {};
}

// By what finds the instance.
template <AttentionKernel (*kFind)(const Plan&)>
Status launch_attention(const Plan& plan, const Geometry& geometry, const Call& call, gpu::Edge,
                        cudaStream_t stream) {
  const Problem& problem = plan.attention;
  Params params = {};
  SEESAW_RETURN_IF_ERROR(device::fill_params(plan, geometry, call, &params));
  for (size_t s = 0; s < problem.num_streams; ++s) {
    params.rows[s] = row_numbers_of(call.streams[s], problem.h_kv).value();
    if (converts(problem)) {
      params.boxes[s] = boxes_of(problem.streams[s].format).value();
    }
  }
  return kFind(plan)(params, {.grid = device::grid_of(plan, geometry),
                              .device = plan.options.device.index,
                              .stream = stream});
}

}  // namespace

Support supports(const Problem& problem, const Options& options) {
  const bool columns =
      problem.d_v == kValueColumns &&
      (problem.d_qk == kValueColumns || problem.d_qk == kValueColumns + kBoxColumns);
  if (!columns || problem.q_type == DType::kFloat32) {
    return Support::no("q_dtype = " + std::string(name_of(problem.q_type)) + ", d_qk = " +
                       std::to_string(problem.d_qk) + ", d_v = " + std::to_string(problem.d_v) +
                       ", supported: bfloat16, float16, 576 or 512, and 512");
  }
  if (problem.d_rope % kBoxColumns != 0) {
    return Support::no("d_rope = " + std::to_string(problem.d_rope) + ", needs multiples of " +
                       std::to_string(kBoxColumns));
  }
  for (size_t s = 0; s < problem.num_streams; ++s) {
    const Support stream = supports_stream(problem, problem.streams[s], converts(problem));
    if (!stream.supported) {
      return stream;
    }
  }
  if (problem.masks.tree || problem.soft_cap) {
    return Support::no(std::string(problem.masks.tree ? "tree_mask" : "soft_cap") +
                       " asked for, which it has not");
  }
  const Support grid = device::supports_grid(problem, kTileRows);
  return grid.supported ? gpu::runs_sm90(options.device.index) : grid;
}

Support supports_swapped(const Problem& problem, const Options& options) {
  const Support can = supports(problem, options);
  if (!can.supported || !options.kernel.empty() ||
      (converts(problem) && problem.rows() <= kSwappedRows)) {
    return can;
  }
  return Support::no("kv_format = " + std::string(problem.streams[0].format.name) + " and " +
                     std::to_string(problem.rows()) +
                     " query rows, fastest with: e4m3 records and up to " +
                     std::to_string(kSwappedRows) + ". A plan's kernel may ask for it by name");
}

Status plan(const Problem& problem, const Options& options, KnobValues knobs, Plan* plan) {
  return device::make_plan(problem, options, knobs,
                           {.tokens = kTileTokens,
                            .rows = kTileRows,
                            .blocks_per_sm = 1,
                            .piece_cost_tiles = 3,
                            .fixed_split_tiles = 32,
                            .us = 1.6},
                           plan);
}

Status plan_swapped(const Problem& problem, const Options& options, KnobValues knobs, Plan* plan) {
  return device::make_plan(problem, options, knobs,
                           {.tokens = kTileTokens,
                            .rows = kSwappedRows,
                            .blocks_per_sm = 1,
                            .piece_cost_tiles = 3,
                            .fixed_split_tiles = 32,
                            .us = 1.3},
                           plan);
}

Status prepare(const Plan& plan, const Call& call, void* schedule, void* stream) {
  return device::prepare(plan, call, schedule, stream);
}

Status run(const Plan& plan, const Call& call, void* stream) {
  SEESAW_RETURN_IF_ERROR(check_caches(plan.attention, call));
  return device::run(plan, call, stream, launch_attention<find_attention_kernel>);
}

Status trace(const Plan& plan, const Call& call, void* stream, Trace* trace) {
  const Problem& problem = plan.attention;
  if (find_traced_kernel(plan) == nullptr) {
    return no_trace_of(problem.q_type);
  }
  SEESAW_RETURN_IF_ERROR(check_caches(problem, call));
  return device::trace(
      plan, call, stream,
      {.lanes = 2, .set_blocks = set_trace_blocks, .launch = launch_attention<find_traced_kernel>},
      trace);
}

}  // namespace seesaw::attention::sm90
