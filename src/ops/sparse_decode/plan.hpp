// What planning decides for sparse decoding, before any list is known, and what is checked before a
// run.
#pragma once

#include "attention/plan.hpp"
#include "ops/sparse_decode/problem.hpp"

namespace seesaw::sparse_decode {

struct SparseDecodePlan : attention::Plan {
  SparseDecodeProblem problem;
};

using Functions = KernelFunctions<SparseDecodeProblem, Args, SparseDecodePlan>;

// What kernels on host memory look at first. Any lengths may be scheduled.
inline Status check_before_prepare(const SparseDecodePlan&, const Args&) { return {}; }
inline Status check_before_run(const SparseDecodePlan& plan, const Args& args) {
  return plan.options.check_data ? check_lists(plan.problem, call_of(plan.problem, args, {}),
                                               attention::find_on_host(plan.attention))
                                 : Status();
}

}  // namespace seesaw::sparse_decode
