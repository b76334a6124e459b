// cpu.dense_decode: attention's CPU core (src/attention/cpu) with dense_decode's arguments.
#pragma once

#include "ops/dense_decode/plan.hpp"

namespace seesaw::dense_decode::cpu {

Support supports(const DenseDecodeProblem& problem, const Options& options);
Status plan(const DenseDecodeProblem& problem, const Options& options, KnobValues knobs,
            DenseDecodePlan* plan);
// Allocates nothing; thread-safe for different workspaces.
Status run(const DenseDecodePlan& plan, const Args& args, const Call& call);
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
