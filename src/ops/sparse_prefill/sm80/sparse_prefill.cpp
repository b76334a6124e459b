#include "ops/sparse_prefill/sm80/sparse_prefill.hpp"

#include "attention/sm80/attention.hpp"

namespace seesaw::sparse_prefill::sm80 {

Support supports(const SparsePrefillProblem& problem, const Options& options) {
  return attention::sm80::supports(attention_of(problem), options);
}

Status plan(const SparsePrefillProblem& problem, const Options& options, KnobValues knobs,
            SparsePrefillPlan* plan) {
  plan->problem = problem;
  return attention::sm80::plan(attention_of(problem), options, knobs, plan);
}

Status prepare(const SparsePrefillPlan& plan, const Args& args, const Call& call) {
  return attention::sm80::prepare(plan, call_of(plan.problem, args, call), call.schedule,
                                  call.stream);
}

Status run(const SparsePrefillPlan& plan, const Args& args, const Call& call) {
  SEESAW_RETURN_IF_ERROR(check_call(args));
  return attention::sm80::run(plan, call_of(plan.problem, args, call), call.stream);
}

}  // namespace seesaw::sparse_prefill::sm80
