// The host side of the kernel with a ring: what TMA wants of a cache, and its tensor maps.
#include <algorithm>
#include <cstdint>
#include <string>

#include "attention/device/plan.hpp"
#include "attention/device/run.hpp"
#include "attention/device/trace.hpp"
#include "attention/sm90/attention.hpp"
#include "attention/sm90/host.hpp"
#include "base/math.hpp"
#include "gpu/device.hpp"
#include "gpu/tensor_map.hpp"

namespace seesaw::attention::sm90 {
namespace {

// Where it is not named, the kernel is chosen for up to kSwappedRows query rows and from this many
// tiles of a call on, about three for each SM of an H200: the seesaw is faster with fewer (notebook
// 0090).
constexpr int64_t kFewestTiles = 400;

// TMA: global addresses and strides are multiples of 16 bytes, strides below 2^40.
constexpr int64_t kTmaAlignment = 16;
constexpr int64_t kTmaMostStride = int64_t{1} << 40;

bool is_stride_of_tma(int64_t bytes) {
  return bytes > 0 && bytes % kTmaAlignment == 0 && bytes < kTmaMostStride;
}

// Of the longest sequences that the problem allows: plans do not know the lengths.
int64_t most_tiles(const Problem& problem) {
  return problem.items * problem.h_kv * ceil_div<int64_t>(planned_tokens(problem, 0), kTileTokens);
}

Support supports_cache(const Problem& problem, const StreamShape& stream) {
  if (!copies(stream.format, problem.q_type) || stream.kind != StreamKind::kPages ||
      problem.num_streams != 1) {
    return Support::no(std::string("kv_format = ") + stream.format.name +
                       " with q_dtype = " + name_of(problem.q_type) +
                       ", supported: one cache of q_dtype, through a block table");
  }
  if (stream.page_size % kTileTokens != 0) {
    return Support::no("page_size = " + std::to_string(stream.page_size) + ", needs multiples of " +
                       std::to_string(kTileTokens));
  }
  if (!is_stride_of_tma(stream.page_stride_bytes) || !is_stride_of_tma(stream.row_stride_bytes) ||
      (problem.h_kv > 1 && !is_stride_of_tma(stream.head_stride_bytes))) {
    return Support::no("cache strides of " + std::to_string(stream.page_stride_bytes) + ", " +
                       std::to_string(stream.row_stride_bytes) + " and " +
                       std::to_string(stream.head_stride_bytes) +
                       " bytes, needs positive multiples of 16 below 2^40");
  }
  return Support::yes();
}

RingKernel find_ring_kernel(const Plan& plan) { return find(ring_instances(), plan); }
RingKernel find_traced_ring_kernel(const Plan& plan) { return find(traced_ring_instances(), plan); }

uint64_t extent(int64_t value) { return static_cast<uint64_t>(std::max<int64_t>(value, 1)); }

// In elements. A dimension of size 1 is never stepped along: any valid stride will do.
int64_t stride_or(int64_t size, int64_t bytes, int64_t otherwise) {
  return size == 1 ? otherwise : bytes / size_of(DType::kBFloat16);
}

Status set_maps(const Problem& problem, const Stream& cache, RingParams* params) {
  gpu::BoxMap map{.data = cache.cache,
                  .shape = {kBoxColumns, extent(problem.streams[0].page_size),
                            static_cast<uint64_t>(problem.d_qk / kBoxColumns), extent(problem.h_kv),
                            extent(cache.pages)},
                  .stride = {cache.row_stride_bytes / size_of(DType::kBFloat16), kBoxColumns,
                             stride_or(problem.h_kv, cache.head_stride_bytes, problem.d_qk),
                             stride_or(cache.pages, cache.page_stride_bytes, problem.d_qk)},
                  .box = {kBoxColumns, kTileTokens, kCopyBoxes, 1, 1},
                  .dtype = problem.q_type};
  SEESAW_RETURN_IF_ERROR(gpu::make_tensor_map(map, "the cache", &params->kv_map));
  if (problem.d_qk == kValueColumns) {
    return {};
  }
  map.box[2] = 1;  // the rotary box
  return gpu::make_tensor_map(map, "the cache", &params->kv_rotary_map);
}

// By what finds the instance.
template <RingKernel (*kFind)(const Plan&)>
Status launch_ring(const Plan& plan, const Geometry& geometry, const Call& call, gpu::Edge,
                   cudaStream_t stream) {
  RingParams params = {};
  SEESAW_RETURN_IF_ERROR(device::fill_params(plan, geometry, call, &params));
  SEESAW_RETURN_IF_ERROR(set_maps(plan.attention, call.streams[0], &params));
  return kFind(plan)(params, {.grid = device::grid_of(plan, geometry),
                              .device = plan.options.device.index,
                              .stream = stream});
}

}  // namespace

Support supports_ring(const Problem& problem, const Options& options) {
  if (options.kernel.empty() && options.batch_invariant) {
    return Support::no(
        "batch_invariant asked for, and how many tiles a call has, by which it is "
        "chosen, depends on the batch. A plan's kernel may ask for it by name");
  }
  if (options.kernel.empty() &&
      (problem.rows() > kSwappedRows || most_tiles(problem) < kFewestTiles)) {
    return Support::no(std::to_string(problem.rows()) + " query rows and " +
                       std::to_string(most_tiles(problem)) +
                       " tiles of 64 tokens at most, fastest with: up to " +
                       std::to_string(kSwappedRows) + " and from " + std::to_string(kFewestTiles) +
                       " on. A plan's kernel may ask for it by name");
  }
  const Support cache = supports_cache(problem, problem.streams[0]);
  if (!cache.supported) {
    return cache;
  }
  const Support can = supports(problem, options);
  if (can.supported && gpu::driver() == nullptr) {
    return Support::no("the NVIDIA driver has no cuTensorMapEncodeTiled, supported: CUDA 12.0 on");
  }
  return can;
}

Status plan_ring(const Problem& problem, const Options& options, KnobValues knobs, Plan* plan) {
  return device::make_plan(problem, options, knobs,
                           {.tokens = kTileTokens,
                            .rows = kSwappedRows,
                            .blocks_per_sm = 1,
                            .piece_cost_tiles = 3,
                            .fixed_split_tiles = 32,
                            .us = 2.2},  // as sm90.dense_decode's, the memory's time
                           plan);
}

Status run_ring(const Plan& plan, const Call& call, void* stream) {
  SEESAW_RETURN_IF_ERROR(check_address(call.streams[0], "the cache"));
  return device::run(plan, call, stream, launch_ring<find_ring_kernel>);
}

Status trace_ring(const Plan& plan, const Call& call, void* stream, Trace* trace) {
  if (find_traced_ring_kernel(plan) == nullptr) {
    return no_trace_of(plan.attention.q_type);
  }
  SEESAW_RETURN_IF_ERROR(check_address(call.streams[0], "the cache"));
  return device::trace(
      plan, call, stream,
      {.lanes = 2, .set_blocks = set_trace_blocks, .launch = launch_ring<find_traced_ring_kernel>},
      trace);
}

}  // namespace seesaw::attention::sm90
