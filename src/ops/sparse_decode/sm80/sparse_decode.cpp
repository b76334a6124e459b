#include "ops/sparse_decode/sm80/sparse_decode.hpp"

#include "attention/sm80/attention.hpp"

namespace seesaw::sparse_decode::sm80 {

Support supports(const SparseDecodeProblem& problem, const Options& options) {
  return attention::sm80::supports(attention_of(problem), options);
}

Status plan(const SparseDecodeProblem& problem, const Options& options, KnobValues knobs,
            SparseDecodePlan* plan) {
  plan->problem = problem;
  return attention::sm80::plan(attention_of(problem), options, knobs, plan);
}

Status prepare(const SparseDecodePlan& plan, const Args& args, const Call& call) {
  return attention::sm80::prepare(plan, call_of(plan.problem, args, call), call.schedule,
                                  call.stream);
}

Status run(const SparseDecodePlan& plan, const Args& args, const Call& call) {
  SEESAW_RETURN_IF_ERROR(check_call(plan.problem, args));
  return attention::sm80::run(plan, call_of(plan.problem, args, call), call.stream);
}

}  // namespace seesaw::sparse_decode::sm80
