#include "attention/sm80/attention.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>

#include "attention/device/run.hpp"
#include "attention/sm80/launch.hpp"
#include "base/math.hpp"
#include "gpu/device.hpp"
#include "gpu/faults.hpp"
#include "split/row_groups.hpp"

namespace seesaw::attention::sm80 {
namespace {

constexpr char kWhere[] = "attention (sm80)";

// What starting and ending a piece costs, in tiles of work, and how long batch-invariant splits
// are: docs/decisions/0015-gpu-split-costs.md, for tiles of half as many tokens.
constexpr int32_t kPieceCostTiles = 6;
constexpr int32_t kFixedSplitTiles = 64;

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
  plan->workspace_bytes = device::workspace_bytes(*plan);
  return {};
}

Status prepare(const Plan& plan, const Call& call, void* schedule, void* stream) {
  return device::prepare(plan, call, schedule, stream);
}

Status run(const Plan& plan, const Call& call, void* stream) {
  return device::run(plan, call, stream, launch_attention);
}

}  // namespace seesaw::attention::sm80
