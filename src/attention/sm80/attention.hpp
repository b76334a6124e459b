// Attention on GPUs from compute capability 8.0 on: any cache, dense or sparse. README.md beside
// this file has the algorithm.
#pragma once

#include <array>
#include <cstdint>

#include "attention/call.hpp"
#include "attention/plan.hpp"
#include "core/support.hpp"
#include "core/trace.hpp"
#include "split/knobs.hpp"

namespace seesaw::attention::sm80 {

// The schedule's knobs, and two of this core's own.
enum Sm80Knob : size_t { kTileRowsKnob = split::kSplitKnobCount, kSharedBytesKnob, kKnobCount };
inline constexpr int32_t kLeastSharedBytes = 48 << 10;
inline constexpr int32_t kMostSharedBytes = 227 << 10;
inline constexpr std::array<Knob, kKnobCount> kKnobs = {
    split::kSplitKnobs[split::kNumWorkers], split::kSplitKnobs[split::kPieceCostTiles],
    split::kSplitKnobs[split::kSplitCostTiles],
    Knob{"tile_rows", 16, 32, 16, "query rows of a thread block"},
    Knob{"shared_bytes", kLeastSharedBytes, kMostSharedBytes, 1 << 10,
         "shared memory that a thread block may take"}};

// Problems whose q_dtype, d_qk or d_v is beyond these it does not run: for the operations' tables.
inline constexpr std::array kLimits = {
    Limit{.field = "q_dtype", .values = {SEESAW_BFLOAT16, SEESAW_FLOAT16}},
    Limit{.field = "d_qk", .most = 576}, Limit{.field = "d_v", .most = 512}};

// Whether the device of `options` runs the problem, or why not. Never an error.
Support supports(const Problem& problem, const Options& options);

// Workers, tiles and workspace for a problem that is supported. Fills in all of `plan`, but for
// what an operation adds to it.
Status plan(const Problem& problem, const Options& options, KnobValues knobs, Plan* plan);

// Launches the planner of the call's lengths on `stream`, which writes `schedule`: device memory of
// plan.schedule_bytes. Asynchronous.
Status prepare(const Plan& plan, const Call& call, void* schedule, void* stream);

// Launches attention, and the combine if the plan can split an item, on `stream`. Asynchronous, but
// for options.check_data, with which it first reads lengths, block table and schedule back.
Status run(const Plan& plan, const Call& call, void* stream);

// The same by a variant with a clock: waits, and reports the steps of gpu::trace_call. The variant
// is compiled for queries of bf16 and more than 256 columns of values; others are refused.
Status trace(const Plan& plan, const Call& call, void* stream, Trace* trace);

}  // namespace seesaw::attention::sm80
