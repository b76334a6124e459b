// What planning decides for sparse prefill, before any list is known, and what kernels
// on host memory share.
#pragma once

#include "attention/plan.hpp"
#include "ops/sparse_prefill/problem.hpp"

namespace seesaw::sparse_prefill {

struct SparsePrefillPlan : attention::Plan {
  SparsePrefillProblem problem;
};

using Functions = KernelFunctions<SparsePrefillProblem, Args, SparsePrefillPlan>;

// The schedule is the host planner's.
Status prepare_on_host(const SparsePrefillPlan& plan, const Args& args, const Call& call);
Status list_pieces(const SparsePrefillPlan& plan, const void* schedule, PieceVisitor visitor);

// What kernels on host memory can look at before they run: tensors, lists, the schedule.
Status check_host_call(const SparsePrefillPlan& plan, const Args& args, const Call& call);

}  // namespace seesaw::sparse_prefill
