#include "ops/dense_decode/cpu/dense_decode.hpp"

#include "attention/cpu/attention.hpp"
#include "ops/dense_decode/attention.hpp"

namespace seesaw::dense_decode::cpu {

Support supports(const DenseDecodeProblem&, const Options&) { return attention::cpu::supports(); }

Status plan(const DenseDecodeProblem& problem, const Options& options, KnobValues knobs,
            DenseDecodePlan* plan) {
  plan->problem = problem;
  return attention::cpu::plan(attention_of(problem), options, knobs, plan);
}

Status run(const DenseDecodePlan& plan, const Args& args, const Call& call) {
  SEESAW_RETURN_IF_ERROR(check_host_call(plan, args, call));
  attention::cpu::run(plan, attention_call_of(plan.problem, args, call));
  return {};
}

Status trace(const DenseDecodePlan& plan, const Args& args, const Call& call, Trace* trace) {
  SEESAW_RETURN_IF_ERROR(check_host_call(plan, args, call));
  attention::cpu::trace(plan, attention_call_of(plan.problem, args, call), trace);
  return {};
}

}  // namespace seesaw::dense_decode::cpu
