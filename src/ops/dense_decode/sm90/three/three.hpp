// sm90.dense_decode.three behind the operation's table: README.md beside this file has the
// algorithm. Schedule, partials and combine are those of the seesaw (../dense_decode.hpp).
#pragma once

#include "ops/dense_decode/sm90/dense_decode.hpp"

namespace seesaw::dense_decode::sm90::three {

inline constexpr std::array kLimits = {
    Limit{.field = "q_dtype", .values = {SEESAW_BFLOAT16, SEESAW_FLOAT16}},
    Limit{.field = "kv_format", .values = {SEESAW_BFLOAT16, SEESAW_FLOAT16}},
    Limit{.field = "d_qk", .values = {576, 512}}, Limit{.field = "d_v", .values = {512}},
    Limit{.field = "page_size", .multiple_of = 64}};

// As sm90::supports. Never an error.
Support supports(const DenseDecodeProblem& problem, const Options& options);

// As sm90::run.
Status run(const DenseDecodePlan& plan, const Args& args, const Call& call);

// As sm90::trace.
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

}  // namespace seesaw::dense_decode::sm90::three
