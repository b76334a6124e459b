// sm90.dense_decode.bf16 and .fp16 behind the operation's table: README.md beside this file has the
// algorithm, src/gpu the planner and the combine.
#pragma once

#include <array>

#include "ops/dense_decode/plan.hpp"
#include "ops/dense_decode/sm90/kernels.hpp"

namespace seesaw::dense_decode::sm90 {

// What the variant of a dtype asks of a problem; pages are whole tiles (config.hpp).
template <seesaw_dtype dtype>
inline constexpr std::array kLimits = {
    Limit{.field = "q_dtype", .values = {dtype}}, Limit{.field = "kv_format", .values = {dtype}},
    Limit{.field = "d_qk", .values = {576, 512}}, Limit{.field = "d_v", .values = {512}},
    Limit{.field = "page_size", .multiple_of = 64}};

// Whether a problem within these limits can run on the planned device, or why not. Never an error,
// also not on a machine without a GPU.
Support supports(const DenseDecodeProblem& problem, const Options& options);

// Workers, tiles and workspace for a supported problem.
Status plan(const DenseDecodeProblem& problem, const Options& options, KnobValues knobs,
            DenseDecodePlan* plan);

// Builds the schedule on the device, by one launch on call.stream.
Status prepare(const DenseDecodePlan& plan, const Args& args, const Call& call);

// Attention, then the combine if the plan can split a sequence. Two launches on call.stream:
// nothing is allocated, copied to the host or waited for, except with options.check_data.
Status run(const DenseDecodePlan& plan, const Args& args, const Call& call);

// The same by another kernel with the seesaw's schedule and partials.
Status run_by(FindKernel find, const DenseDecodePlan& plan, const Args& args, const Call& call);

// The same by the traced variant: trace.hpp.
Status trace(const DenseDecodePlan& plan, const Args& args, const Call& call, Trace* trace);

// A kernel of the operation's table.
struct Variant {
  static constexpr Functions kFunctions = {.supports = supports,
                                           .plan = plan,
                                           .prepare = prepare,
                                           .run = run,
                                           .trace = trace,
                                           .pieces = attention::list_pieces_of<DenseDecodePlan>};
};

}  // namespace seesaw::dense_decode::sm90
