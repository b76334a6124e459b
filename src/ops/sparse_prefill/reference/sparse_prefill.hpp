// reference.sparse_prefill: attention's definition (src/attention/reference) with sparse_prefill's
// arguments.
#pragma once

#include "ops/sparse_prefill/plan.hpp"

namespace seesaw::sparse_prefill::reference {

Support supports(const SparsePrefillProblem& problem, const Options& options);
Status plan(const SparsePrefillProblem& problem, const Options& options, KnobValues knobs,
            SparsePrefillPlan* plan);
Status run(const SparsePrefillPlan& plan, const Args& args, const Call& call);

struct SparsePrefill {
  static constexpr Functions kFunctions = {.supports = supports,
                                           .plan = plan,
                                           .prepare = prepare_on_host,
                                           .run = run,
                                           .pieces = list_pieces};
};

}  // namespace seesaw::sparse_prefill::reference
