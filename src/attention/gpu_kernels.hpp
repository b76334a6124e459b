// The kernel that the core for GPUs is for an operation: a row of its table. What it wants of the
// operation is in host_kernels.hpp; what lies in host memory there, it does not look at.
#pragma once

#include "attention/sm80/attention.hpp"
#include "core/operation.hpp"

namespace seesaw::attention {

// Launches on call.stream: nothing is allocated, copied to the host or waited for, except with
// options.check_data.
template <typename PlanType, typename Args>
struct Sm80Kernel {
  using Problem = decltype(PlanType::problem);

  static Support supports(const Problem& problem, const Options& options) {
    return sm80::supports(attention_of(problem), options);
  }

  static Status plan(const Problem& problem, const Options& options, KnobValues knobs,
                     PlanType* made) {
    made->problem = problem;
    return sm80::plan(attention_of(problem), options, knobs, made);
  }

  static Status prepare(const PlanType& plan, const Args& args, const seesaw::Call& call) {
    return sm80::prepare(plan, call_of(plan.problem, args, call), call.schedule, call.stream);
  }

  static Status run(const PlanType& plan, const Args& args, const seesaw::Call& call) {
    SEESAW_RETURN_IF_ERROR(check_call(plan.problem, args));
    return sm80::run(plan, call_of(plan.problem, args, call), call.stream);
  }

  static constexpr KernelFunctions<Problem, Args, PlanType> kFunctions = {
      .supports = supports,
      .plan = plan,
      .prepare = prepare,
      .run = run,
      .pieces = list_pieces_of<PlanType>};
};

}  // namespace seesaw::attention
