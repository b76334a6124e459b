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

// What kernels on host memory can look at first: lengths; then page ids and ragged queries, too.
Status check_before_prepare(const DenseDecodePlan& plan, const Args& args);
Status check_before_run(const DenseDecodePlan& plan, const Args& args);

}  // namespace seesaw::dense_decode
