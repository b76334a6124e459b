#include "attention/sm90/attention.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>

#include "attention/device/run.hpp"
#include "attention/sm90/kernels.hpp"
#include "attention/sm90/records.hpp"
#include "base/math.hpp"
#include "gpu/device.hpp"
#include "gpu/faults.hpp"
#include "split/row_groups.hpp"

namespace seesaw::attention::sm90 {
namespace {

// What starting and ending a piece costs, in tiles of work, and how long batch-invariant splits
// are: those of sm90.dense_decode (docs/decisions/0015-gpu-split-costs.md).
constexpr int32_t kPieceCostTiles = 3;
constexpr int32_t kFixedSplitTiles = 32;

// The combine's own time, and the partials of up to two pieces a worker, written and read, in
// tiles: as sm90.dense_decode's.
int32_t split_cost_tiles(const Problem& problem, const split::RowGroups& groups) {
  const int64_t rows_of_group = std::min(problem.rows(), groups.group_tiles * int64_t{kTileRows});
  const double rows = static_cast<double>(problem.h_kv * rows_of_group);
  const double cost_us = 2.0 + static_cast<double>(groups.num_workers) * rows / 600.0;
  constexpr double kTileUs = 1.6;
  return static_cast<int32_t>(cost_us / kTileUs);
}

split::SplitConfig split_config(const Problem& problem, const Options& options,
                                const gpu::DeviceProperties& device) {
  const auto config_for = [&](const split::RowGroups& groups) {
    split::SplitConfig config = split_config_of(problem, kTileTokens, groups.num_workers);
    config.piece_cost_tiles = kPieceCostTiles;
    config.fixed_split_tiles = options.batch_invariant ? kFixedSplitTiles : 0;
    config.split_cost_tiles = split_cost_tiles(problem, groups);
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
      {.row_tiles = ceil_div<int64_t>(problem.rows(), kTileRows),
       .h_kv = problem.h_kv,
       .num_sms = device.num_sms,
       .cache_fits_l2 = cache_bytes <= static_cast<double>(device.l2_bytes) / 2.0,
       .config_for = config_for}));
}

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

Support supports_numbers(const Problem& problem) {
  if (problem.masks.tree || problem.soft_cap) {
    return Support::no(problem.masks.tree ? "tree_mask asked for, which it has not"
                                          : "soft_cap asked for, which it has not");
  }
  constexpr int64_t kMostRows = std::numeric_limits<int32_t>::max() - kTileRows;
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

bool converts(const Problem& problem) { return !copies(problem.streams[0].format, problem.q_type); }

AttentionKernel kernel_of(const Problem& problem) {
  return find_attention_kernel(
      {.type = problem.q_type, .d_qk = problem.d_qk, .converts = converts(problem)});
}

// 16 bytes are copied at a time, and rows are counted in them.
Status check_cache(const Stream& stream, size_t number) {
  const auto address = reinterpret_cast<uintptr_t>(stream.cache);
  const char* name = number == 0 ? "the cache" : "the extra cache";
  if (address % kChunkBytes != 0) {
    return invalid_argument(std::string("attention (sm90): ") + name + " at an address of " +
                            std::to_string(address % kChunkBytes) +
                            " modulo 16, allowed: multiples of 16 bytes. Start the cache on an "
                            "aligned address.");
  }
  constexpr int64_t kMostBytes = int64_t{kChunkBytes} * 0xFFFFFFFF;
  if (stream.pages > 0 && stream.page_stride_bytes > kMostBytes / stream.pages) {
    return invalid_argument(std::string("attention (sm90): ") + name + " of " +
                            std::to_string(stream.pages) + " pages of " +
                            std::to_string(stream.page_stride_bytes) +
                            " bytes, allowed: less than 64 GiB. Ask for the kernel sm80.");
  }
  return {};
}

Status launch_attention(const Plan& plan, const Geometry& geometry, const Call& call, gpu::Edge,
                        cudaStream_t stream) {
  const Problem& problem = plan.attention;
  Params params = {};
  SEESAW_RETURN_IF_ERROR(device::fill_params(plan, geometry, call, &params));
  for (size_t s = 0; s < problem.num_streams && converts(problem); ++s) {
    params.boxes[s] = boxes_of(problem.streams[s].format).value();
  }
  return kernel_of(problem)(params, {.grid = device::grid_of(plan, geometry),
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
  for (size_t s = 0; s < problem.num_streams; ++s) {
    const Support stream = supports_stream(problem, problem.streams[s], converts(problem));
    if (!stream.supported) {
      return stream;
    }
  }
  const Support numbers = supports_numbers(problem);
  return numbers.supported ? gpu::runs_sm90(options.device.index) : numbers;
}

Status plan(const Problem& problem, const Options& options, KnobValues knobs, Plan* plan) {
  const gpu::DeviceProperties& device = *gpu::device_of(options.device.index).properties;
  plan->attention = problem;
  plan->options = options;
  plan->tile_rows = kTileRows;
  plan->split = split_config(problem, options, device);
  SEESAW_RETURN_IF_ERROR(finish_plan(knobs, plan));
  gpu::Fault* fault = nullptr;  // allocated here, so that no run has to
  SEESAW_RETURN_IF_ERROR(gpu::fault_word(options.device.index, &fault));
  plan->workspace_bytes = device::workspace_bytes(*plan);
  return {};
}

Status prepare(const Plan& plan, const Call& call, void* schedule, void* stream) {
  return device::prepare(plan, call, schedule, stream);
}

Status run(const Plan& plan, const Call& call, void* stream) {
  for (size_t s = 0; s < plan.attention.num_streams; ++s) {
    SEESAW_RETURN_IF_ERROR(check_cache(call.streams[s], s));
  }
  return device::run(plan, call, stream, launch_attention);
}

}  // namespace seesaw::attention::sm90
