// sm80.sparse_prefill: attention's core for any GPU (src/attention/sm80) with sparse_prefill's
// arguments.
#pragma once

#include "ops/sparse_prefill/plan.hpp"

namespace seesaw::sparse_prefill::sm80 {

// Never an error, also not on a machine without a GPU.
Support supports(const SparsePrefillProblem& problem, const Options& options);
Status plan(const SparsePrefillProblem& problem, const Options& options, KnobValues knobs,
            SparsePrefillPlan* plan);

// Launches on call.stream: nothing is allocated, copied to the host or waited for.
Status prepare(const SparsePrefillPlan& plan, const Args& args, const Call& call);
Status run(const SparsePrefillPlan& plan, const Args& args, const Call& call);

struct SparsePrefill {
  static constexpr Functions kFunctions = {
      .supports = supports, .plan = plan, .prepare = prepare, .run = run, .pieces = list_pieces};
};

}  // namespace seesaw::sparse_prefill::sm80
