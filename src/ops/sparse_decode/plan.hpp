// What planning decides for sparse decoding, before any list is known, and what kernels
// on host memory share.
#pragma once

#include "attention/plan.hpp"
#include "ops/sparse_decode/problem.hpp"

namespace seesaw::sparse_decode {

struct SparseDecodePlan : attention::Plan {
  SparseDecodeProblem problem;
};

using Functions = KernelFunctions<SparseDecodeProblem, Args, SparseDecodePlan>;

// The schedule is the host planner's.
Status prepare_on_host(const SparseDecodePlan& plan, const Args& args, const Call& call);
Status list_pieces(const SparseDecodePlan& plan, const void* schedule, PieceVisitor visitor);

// What kernels on host memory can look at before they run: tensors, lists, the schedule.
Status check_host_call(const SparseDecodePlan& plan, const Args& args, const Call& call);

}  // namespace seesaw::sparse_decode
