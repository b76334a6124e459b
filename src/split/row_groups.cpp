#include "split/row_groups.hpp"

#include <algorithm>
#include <limits>

#include "split/split_kv_math.hpp"

namespace seesaw::split {
namespace {

constexpr int64_t kTypicalTiles = 128;  // 8,192 tokens: what is assumed of longer maxima
constexpr double kAsGood = 1.01;        // loads that differ by less are equal

// What a tile takes more than where four blocks share it: from HBM, and from L2.
double traffic_factor(int64_t group_tiles, bool cache_fits_l2) {
  switch (group_tiles) {
    case 1:
      return cache_fits_l2 ? 1.03 : 1.4;
    case 2:
      return cache_fits_l2 ? 1.0 : 1.05;
    case 3:
      return cache_fits_l2 ? 1.0 : 1.02;
    default:
      return 1.0;
  }
}

}  // namespace

RowGroups row_groups_of(const RowGroupProblem& problem, int64_t group_tiles) {
  const int64_t groups = ceil_div(problem.row_tiles, group_tiles);
  const int64_t tiles = ceil_div(problem.row_tiles, groups);
  return {.row_groups = static_cast<int32_t>(groups),
          .group_tiles = tiles,
          .num_workers =
              static_cast<int32_t>(std::max<int64_t>(problem.num_sms / (problem.h_kv * tiles), 1))};
}

int64_t equal_load(const SplitConfig& config, int64_t sequence_tiles) {
  const int64_t items = at_least_one(config.max_items());
  const int64_t tiles = items * sequence_tiles;
  if (config.fixed_split_tiles > 0) {
    const int64_t pieces = items * pieces_of(sequence_tiles, config.fixed_split_tiles);
    const SplitRule rule = fixed_rule(config, tiles, pieces);
    return rule.own_worker ? rule.piece_tiles + rule.piece_cost : rule.quota + rule.piece_cost;
  }
  const SplitRule ranges = range_rule(config, items, tiles);
  if (whole_pays(config, ranges, items, sequence_tiles)) {
    return whole_rule(ranges, items).per_worker * (sequence_tiles + ranges.piece_cost);
  }
  if (rest_pays(config, ranges, items, tiles, sequence_tiles)) {
    const SplitRule rule = rest_rule(ranges, items, sequence_tiles);
    // Few items are cut: a part of what cutting costs at most.
    return rule.per_worker * (sequence_tiles + rule.piece_cost) + rule.piece_tiles +
           rule.piece_cost + config.split_cost_tiles / 2;
  }
  const AlignedLengths lengths = aligned_lengths(ranges, items, tiles);
  for (int64_t length = lengths.first; length <= lengths.last; ++length) {
    const int64_t pieces = pieces_of(sequence_tiles, length);
    if (items * pieces <= config.num_workers) {
      const bool cut = pieces > 1;
      return length + ranges.piece_cost + (cut ? config.split_cost_tiles : 0);
    }
  }
  // A worker in the middle of an item has to finish it and to begin another one.
  return ranges.quota + ranges.piece_cost + config.split_cost_tiles;
}

RowGroups choose_row_groups(const RowGroupProblem& problem) {
  constexpr int64_t kFewTiles = 4;
  const int64_t most = std::max<int64_t>(
      std::min(problem.row_tiles, problem.num_sms / std::max<int64_t>(problem.h_kv, 1)), 1);
  if (problem.row_tiles <= std::min(kFewTiles, most)) {
    return row_groups_of(problem, problem.row_tiles);
  }
  RowGroups best;
  double least = std::numeric_limits<double>::infinity();
  for (int64_t tiles = most; tiles >= 1; --tiles) {
    const RowGroups groups = row_groups_of(problem, tiles);
    if (groups.group_tiles != tiles) continue;  // fewer tiles make as few groups
    const SplitConfig config = problem.config_for(groups);
    const int64_t sequence_tiles = std::clamp<int64_t>(config.max_sequence_tiles, 1, kTypicalTiles);
    const double load = static_cast<double>(equal_load(config, sequence_tiles)) *
                        traffic_factor(tiles, problem.cache_fits_l2);
    if (load * kAsGood < least) {
      best = groups;
      least = load;
    }
  }
  return best;
}

}  // namespace seesaw::split
