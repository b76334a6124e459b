// The schedule's numbers that `seesaw tune` may set, for the kernels whose work is split over KV.
#pragma once

#include <array>

#include "core/operation.hpp"
#include "split/split_kv.hpp"

namespace seesaw::split {

// The first knobs of every such kernel; it may have more behind them.
enum SplitKnob : size_t { kNumWorkers, kPieceCostTiles, kSplitCostTiles, kSplitKnobCount };

inline constexpr std::array<Knob, kSplitKnobCount> kSplitKnobs = {
    Knob{"num_workers", 1, 1 << 20, 1, "workers that share the KV work"},
    Knob{"piece_cost_tiles", 1, 1 << 20, 1, "what starting and ending a piece costs, in tiles"},
    Knob{"split_cost_tiles", 0, 1 << 20, 1, "what cutting any sequence costs, in tiles"}};

// Puts the values that are set in the place of the kernel's own. More workers than the kernel
// planned are refused: its workspace is sized for them.
Status apply_knobs(KnobValues knobs, SplitConfig* config);

}  // namespace seesaw::split
