// Attention on Hopper over rows that lie anywhere: pages of any size, or lists of slots, of 16-bit
// or e4m3 records. README.md beside this file has the algorithm.
#pragma once

#include <array>
#include <cstdint>

#include "attention/call.hpp"
#include "attention/plan.hpp"
#include "core/support.hpp"
#include "core/trace.hpp"
#include "gpu/sm90/tile.hpp"
#include "split/knobs.hpp"

namespace seesaw::attention::sm90 {

// Problems of which one of these is another it does not run: for the operations' tables.
inline constexpr std::array kLimits = {
    Limit{.field = "q_dtype", .values = {SEESAW_BFLOAT16, SEESAW_FLOAT16}},
    Limit{.field = "kv_format",
          .values = {SEESAW_BFLOAT16, SEESAW_FLOAT16, SEESAW_FORMAT_FP8_656, SEESAW_FORMAT_FP8_584,
                     SEESAW_FORMAT_FP8_576, SEESAW_FORMAT_FP8_576_TOKEN, SEESAW_FORMAT_FP8_528}},
    Limit{.field = "d_qk", .values = {576, 512}}, Limit{.field = "d_v", .values = {512}}};
inline constexpr std::array kRingLimits = {
    Limit{.field = "q_dtype", .values = {SEESAW_BFLOAT16, SEESAW_FLOAT16}},
    Limit{.field = "kv_format", .values = {SEESAW_BFLOAT16, SEESAW_FLOAT16}},
    Limit{.field = "d_qk", .values = {576, 512}}, Limit{.field = "d_v", .values = {512}},
    Limit{.field = "page_size", .multiple_of = gpu::sm90::kTileTokens}};

// Whether the device of `options` runs the problem, or why not. Never an error.
Support supports(const Problem& problem, const Options& options);

// The same for the kernel with swapped operands, for few query rows. Where it is not named, it runs
// only what it is the fastest for: up to kSwappedRows query rows on caches of e4m3.
Support supports_swapped(const Problem& problem, const Options& options);

// And for that with a ring: on one cache of the queries' type whose pages TMA can bring. Where it
// is not named, up to kSwappedRows query rows and many tiles, and not where results must not depend
// on the batch, as the number of tiles does.
Support supports_ring(const Problem& problem, const Options& options);

// Workers, tiles and workspace for a problem that is supported. Fills in all of `plan`, but for
// what an operation adds to it.
Status plan(const Problem& problem, const Options& options, KnobValues knobs, Plan* plan);
Status plan_swapped(const Problem& problem, const Options& options, KnobValues knobs, Plan* plan);
Status plan_ring(const Problem& problem, const Options& options, KnobValues knobs, Plan* plan);

// As attention::sm80's.
Status prepare(const Plan& plan, const Call& call, void* schedule, void* stream);
Status run(const Plan& plan, const Call& call, void* stream);
// Of queries of bf16.
Status trace(const Plan& plan, const Call& call, void* stream, Trace* trace);
// With a ring.
Status run_ring(const Plan& plan, const Call& call, void* stream);
Status trace_ring(const Plan& plan, const Call& call, void* stream, Trace* trace);

}  // namespace seesaw::attention::sm90
