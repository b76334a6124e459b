#include "ops/sparse_decode/kernels.hpp"
#include "/tmp/dev_attention.hpp"
namespace seesaw::sparse_decode {
Support supports(const SparseDecodeProblem&, const Options&) { return Support::yes(); }
Status plan(const SparseDecodeProblem& problem, const Options& options, KnobValues,
            SparsePlan* plan) {
  plan->problem = problem;
  plan->options = options;
  return {};
}
Status run(const SparsePlan& plan, const Args& args, const Call& call) {
  SEESAW_RETURN_IF_ERROR(check_call(plan.problem, args));
  SEESAW_RETURN_IF_ERROR(check_lists(plan.problem, plan.options, args));
  dev::run(attention_of(plan.problem), call_of(plan.problem, args, call));
  return {};
}
}  // namespace seesaw::sparse_decode
