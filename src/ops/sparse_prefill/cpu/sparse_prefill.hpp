// cpu.sparse_prefill: attention's CPU core (src/attention/cpu) with sparse_prefill's arguments.
#pragma once

#include "ops/sparse_prefill/plan.hpp"

namespace seesaw::sparse_prefill::cpu {

Support supports(const SparsePrefillProblem& problem, const Options& options);
Status plan(const SparsePrefillProblem& problem, const Options& options, KnobValues knobs,
            SparsePrefillPlan* plan);
// Allocates nothing; thread-safe for different workspaces.
Status run(const SparsePrefillPlan& plan, const Args& args, const Call& call);
Status trace(const SparsePrefillPlan& plan, const Args& args, const Call& call, Trace* trace);

struct SparsePrefill {
  static constexpr Functions kFunctions = {.supports = supports,
                                           .plan = plan,
                                           .prepare = prepare_on_host,
                                           .run = run,
                                           .trace = trace,
                                           .pieces = list_pieces};
};

}  // namespace seesaw::sparse_prefill::cpu
