#include "ops/dense_decode/sm80/dense_decode.hpp"

#include "attention/sm80/attention.hpp"
#include "ops/dense_decode/attention.hpp"

namespace seesaw::dense_decode::sm80 {

Support supports(const DenseDecodeProblem& problem, const Options& options) {
  return attention::sm80::supports(attention_of(problem), options);
}

Status plan(const DenseDecodeProblem& problem, const Options& options, KnobValues knobs,
            DenseDecodePlan* plan) {
  plan->problem = problem;
  return attention::sm80::plan(attention_of(problem), options, knobs, plan);
}

Status prepare(const DenseDecodePlan& plan, const Args& args, const Call& call) {
  return attention::sm80::prepare(plan, attention_call_of(plan.problem, args, call), call.schedule,
                                  call.stream);
}

Status run(const DenseDecodePlan& plan, const Args& args, const Call& call) {
  SEESAW_RETURN_IF_ERROR(check_call(plan.problem, args));
  return attention::sm80::run(plan, attention_call_of(plan.problem, args, call), call.stream);
}

}  // namespace seesaw::dense_decode::sm80
