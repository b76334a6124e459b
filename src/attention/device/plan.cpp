#include "attention/device/plan.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>

#include "attention/device/run.hpp"
#include "base/math.hpp"
#include "gpu/device.hpp"
#include "gpu/faults.hpp"
#include "split/row_groups.hpp"

namespace seesaw::attention::device {
namespace {

// What it costs the batch that any item is split, in tiles: the combine's own time, and the
// partials of up to two pieces a worker, written and read.
int32_t split_cost_tiles(const Problem& problem, const Tiles& tiles,
                         const split::RowGroups& groups) {
  const int64_t rows_of_group = std::min(problem.rows(), groups.group_tiles * int64_t{tiles.rows});
  const double rows = static_cast<double>(problem.h_kv * rows_of_group);
  const double cost_us = 2.0 + static_cast<double>(groups.num_workers) * rows / 600.0;
  return static_cast<int32_t>(cost_us / tiles.us);
}

split::SplitConfig split_config(const Problem& problem, const Options& options, const Tiles& tiles,
                                const gpu::DeviceProperties& device) {
  const auto config_for = [&](const split::RowGroups& groups) {
    split::SplitConfig config = split_config_of(problem, tiles.tokens, groups.num_workers);
    config.piece_cost_tiles = tiles.piece_cost_tiles;
    config.fixed_split_tiles = options.batch_invariant ? tiles.fixed_split_tiles : 0;
    config.split_cost_tiles = split_cost_tiles(problem, tiles, groups);
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
  // Half of the L2 cache: it has two partitions, and what is read from the other one is kept twice.
  return config_for(split::choose_row_groups(
      {.row_tiles = ceil_div<int64_t>(problem.rows(), tiles.rows),
       .h_kv = problem.h_kv,
       .num_sms = device.num_sms * tiles.blocks_per_sm,
       .cache_fits_l2 = cache_bytes <= static_cast<double>(device.l2_bytes) / 2.0,
       .config_for = config_for}));
}

}  // namespace

Support supports_grid(const Problem& problem, int32_t tile_rows) {
  const int64_t most_rows = std::numeric_limits<int32_t>::max() - tile_rows;
  if (problem.rows() > most_rows) {
    return Support::no("s_q * h_q = " + std::to_string(problem.s_q * problem.h_q) +
                       ", supported: less than 2^31 query rows");
  }
  constexpr int64_t kMostGridY = 65535;  // CUDA programming guide: the grid's second dimension
  if (problem.h_kv > kMostGridY) {
    return Support::no("h_kv = " + std::to_string(problem.h_kv) + ", supported: up to 65535");
  }
  return Support::yes();
}

Status make_plan(const Problem& problem, const Options& options, KnobValues knobs,
                 const Tiles& tiles, Plan* plan) {
  plan->attention = problem;
  plan->options = options;
  plan->tile_rows = tiles.rows;
  plan->split =
      split_config(problem, options, tiles, *gpu::device_of(options.device.index).properties);
  SEESAW_RETURN_IF_ERROR(finish_plan(knobs, plan));
  gpu::Fault* fault = nullptr;  // allocated here, so that no run has to
  SEESAW_RETURN_IF_ERROR(gpu::fault_word(options.device.index, &fault));
  plan->workspace_bytes = workspace_bytes(*plan);
  return {};
}

}  // namespace seesaw::attention::device
