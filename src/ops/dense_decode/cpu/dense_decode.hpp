// cpu.dense_decode: see README.md beside this file.
#pragma once

#include <array>

#include "cpu/microkernel.hpp"
#include "ops/dense_decode/plan.hpp"
#include "split/knobs.hpp"

namespace seesaw::dense_decode::cpu {

using namespace seesaw::cpu;  // the microkernels' vocabulary

inline constexpr int32_t kTileTokens = 64;

// The schedule's knobs, and one of this kernel's own.
inline constexpr size_t kChunkTokens = split::kSplitKnobCount;
inline constexpr std::array<Knob, kChunkTokens + 1> kKnobs = {
    split::kSplitKnobs[split::kNumWorkers], split::kSplitKnobs[split::kPieceCostTiles],
    split::kSplitKnobs[split::kSplitCostTiles],
    Knob{"chunk_tokens", kTileTokens, 4096, kTileTokens, "tokens packed at a time"}};

// Whether this kernel can run the problem on this machine, or why not.
Support supports(const DenseDecodeProblem& problem, const Options& options);

// Workers, tiles and workspace for a supported problem.
Status plan(const DenseDecodeProblem& problem, const Options& options, KnobValues knobs,
            DenseDecodePlan* plan);

// Allocates nothing; thread-safe for different workspaces.
Status run(const DenseDecodePlan& plan, const Args& args, const Call& call);

// The same by a microkernel that notes what it does when: trace.cpp.
Status trace(const DenseDecodePlan& plan, const Args& args, const Call& call, Trace* trace);

struct DenseDecode {
  static constexpr Functions kFunctions = {.supports = supports,
                                           .plan = plan,
                                           .prepare = prepare_on_host,
                                           .run = run,
                                           .trace = trace,
                                           .pieces = list_pieces};
};

}  // namespace seesaw::dense_decode::cpu
