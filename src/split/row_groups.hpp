// How a sequence's query rows are cut into row groups. A row tile is what one thread block
// computes; the tiles of a group are computed by the blocks of one worker, which walk the same KV
// tiles in step and share them through L2. One group of all tiles shares best, but leaves SMs idle
// where their number is not a multiple of the tiles'; groups of one tile use every SM, but each
// block reads KV for itself. docs/decisions/0017-row-groups.md.
#pragma once

#include <cstdint>
#include <functional>

#include "split/split_kv.hpp"

namespace seesaw::split {

// `row_groups` groups of up to `group_tiles` row tiles, for each KV head; a worker is h_kv *
// group_tiles thread blocks.
struct RowGroups {
  int32_t row_groups = 1;
  int64_t group_tiles = 1;
  int32_t num_workers = 1;
};

struct RowGroupProblem {
  int64_t row_tiles = 1;  // of one KV head
  int64_t h_kv = 1;
  int32_t num_sms = 1;
  bool cache_fits_l2 = false;  // all that the blocks read
  // The planner's numbers for these groups.
  std::function<SplitConfig(const RowGroups&)> config_for;
};

// Groups of at most `group_tiles` tiles: as few as possible, and then of as few tiles as possible.
RowGroups row_groups_of(const RowGroupProblem& problem, int64_t group_tiles);

// Load of the busiest worker, in tiles, for config.max_batch sequences of `sequence_tiles` tiles
// each, the cost of cutting included.
int64_t equal_load(const SplitConfig& config, int64_t sequence_tiles);

// The groups with the least load for equal sequences, the larger of about equally good ones. One
// group if there are at most four tiles.
RowGroups choose_row_groups(const RowGroupProblem& problem);

}  // namespace seesaw::split
