// What planning decides for dense decoding, before any sequence length is known.
#pragma once

#include "attention/plan.hpp"
#include "ops/dense_decode/problem.hpp"

namespace seesaw::dense_decode {

struct DenseDecodePlan : attention::Plan {
  DenseDecodeProblem problem;
};

using Functions = KernelFunctions<DenseDecodeProblem, Args, DenseDecodePlan>;

// The lengths of a call, in whichever memory they are, as the planner takes them.
split::Lengths planned_lengths(const DenseDecodeProblem& problem, const Args& args);

// The functions that kernels on host memory share: the schedule is the host planner's.
Status prepare_on_host(const DenseDecodePlan& plan, const Args& args, const Call& call);
Status list_pieces(const DenseDecodePlan& plan, const void* schedule, PieceVisitor visitor);

// What kernels on host memory can look at before they run: lengths, page ids, the schedule.
Status check_host_call(const DenseDecodePlan& plan, const Args& args, const Call& call);

}  // namespace seesaw::dense_decode
