// What planning decides for sparse prefill, before any list is known, and what is checked before a
// run.
#pragma once

#include "attention/plan.hpp"
#include "ops/sparse_prefill/problem.hpp"

namespace seesaw::sparse_prefill {

struct SparsePrefillPlan : attention::Plan {
  SparsePrefillProblem problem;
};

using Functions = KernelFunctions<SparsePrefillProblem, Args, SparsePrefillPlan>;

// What kernels on host memory look at first. Any lengths may be scheduled.
inline Status check_before_prepare(const SparsePrefillPlan&, const Args&) { return {}; }
inline Status check_before_run(const SparsePrefillPlan& plan, const Args& args) {
  return plan.options.check_data ? check_lists(plan.problem, call_of(plan.problem, args, {}),
                                               attention::find_on_host(plan.attention))
                                 : Status();
}

}  // namespace seesaw::sparse_prefill
