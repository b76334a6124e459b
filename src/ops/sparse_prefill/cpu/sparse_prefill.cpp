#include "ops/sparse_prefill/cpu/sparse_prefill.hpp"

#include "attention/cpu/attention.hpp"

namespace seesaw::sparse_prefill::cpu {

Support supports(const SparsePrefillProblem&, const Options&) { return attention::cpu::supports(); }

Status plan(const SparsePrefillProblem& problem, const Options& options, KnobValues knobs,
            SparsePrefillPlan* plan) {
  plan->problem = problem;
  return attention::cpu::plan(attention_of(problem), options, knobs, plan);
}

Status run(const SparsePrefillPlan& plan, const Args& args, const Call& call) {
  SEESAW_RETURN_IF_ERROR(check_host_call(plan, args, call));
  attention::cpu::run(plan, call_of(plan.problem, args, call));
  return {};
}

Status trace(const SparsePrefillPlan& plan, const Args& args, const Call& call, Trace* trace) {
  SEESAW_RETURN_IF_ERROR(check_host_call(plan, args, call));
  attention::cpu::trace(plan, call_of(plan.problem, args, call), trace);
  return {};
}

}  // namespace seesaw::sparse_prefill::cpu
