// Planning for a GPU, but for a kernel's own choices: the schedule's numbers, workers by SMs, the
// workspace.
#pragma once

#include <cstdint>

#include "attention/plan.hpp"
#include "core/support.hpp"
#include "split/knobs.hpp"

namespace seesaw::attention::device {

// A kernel's tiles, and what they cost: docs/decisions/0015-gpu-split-costs.md.
struct Tiles {
  int32_t tokens;             // of the streams
  int32_t rows;               // query rows
  int32_t blocks_per_sm;      // thread blocks that share one
  int32_t piece_cost_tiles;   // what starting and ending a piece costs, in tiles of work
  int32_t fixed_split_tiles;  // of batch-invariant splits
  double us;                  // that a tile takes a block
};

// Whether query rows and KV heads can be a grid.
Support supports_grid(const Problem& problem, int32_t tile_rows);

// Fills in all of `plan`, but for `variant` and what an operation adds to it.
Status make_plan(const Problem& problem, const Options& options, KnobValues knobs,
                 const Tiles& tiles, Plan* plan);

}  // namespace seesaw::attention::device
