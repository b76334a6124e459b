// Attention on any CPU: see README.md beside this file.
#pragma once

#include <array>

#include "attention/call.hpp"
#include "attention/plan.hpp"
#include "cpu/microkernel.hpp"
#include "split/knobs.hpp"

namespace seesaw::attention::cpu {

using namespace seesaw::cpu;  // the microkernels' vocabulary

inline constexpr int32_t kTileTokens = 64;

// The schedule's knobs, and one of this core's own.
inline constexpr size_t kChunkTokens = split::kSplitKnobCount;
inline constexpr std::array<Knob, kChunkTokens + 1> kKnobs = {
    split::kSplitKnobs[split::kNumWorkers], split::kSplitKnobs[split::kPieceCostTiles],
    split::kSplitKnobs[split::kSplitCostTiles],
    Knob{"chunk_tokens", kTileTokens, 4096, kTileTokens, "tokens packed at a time"}};

// Whether this machine runs it, as it does any problem, or why not.
Support supports();

// Workers, tiles and workspace for a problem. Fills in all of `plan`, but for what an operation
// adds to it.
Status plan(const Problem& problem, const Options& options, KnobValues knobs, Plan* plan);

// Lengths, ids and slots of the call must be within their ranges (ids of kIndices: any) and its
// schedule checked (host.hpp). Allocates nothing; thread-safe for different workspaces.
void run(const Plan& plan, const Call& call);

// The same by a microkernel that notes what it does when: trace.cpp.
void trace(const Plan& plan, const Call& call, Trace* trace);

}  // namespace seesaw::attention::cpu
