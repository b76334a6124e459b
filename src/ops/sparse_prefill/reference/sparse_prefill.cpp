#include "ops/sparse_prefill/reference/sparse_prefill.hpp"

#include "attention/reference/attention.hpp"

namespace seesaw::sparse_prefill::reference {

Support supports(const SparsePrefillProblem&, const Options&) { return Support::yes(); }

Status plan(const SparsePrefillProblem& problem, const Options& options, KnobValues knobs,
            SparsePrefillPlan* plan) {
  plan->problem = problem;
  return attention::reference::plan(attention_of(problem), options, knobs, plan);
}

Status run(const SparsePrefillPlan& plan, const Args& args, const Call& call) {
  SEESAW_RETURN_IF_ERROR(check_host_call(plan, args, call));
  attention::reference::run(plan, call_of(plan.problem, args, call));
  return {};
}

}  // namespace seesaw::sparse_prefill::reference
