#include "ops/sparse_decode/reference/sparse_decode.hpp"

#include "attention/reference/attention.hpp"

namespace seesaw::sparse_decode::reference {

Support supports(const SparseDecodeProblem&, const Options&) { return Support::yes(); }

Status plan(const SparseDecodeProblem& problem, const Options& options, KnobValues knobs,
            SparseDecodePlan* plan) {
  plan->problem = problem;
  return attention::reference::plan(attention_of(problem), options, knobs, plan);
}

Status run(const SparseDecodePlan& plan, const Args& args, const Call& call) {
  SEESAW_RETURN_IF_ERROR(check_host_call(plan, args, call));
  attention::reference::run(plan, call_of(plan.problem, args, call));
  return {};
}

}  // namespace seesaw::sparse_decode::reference
