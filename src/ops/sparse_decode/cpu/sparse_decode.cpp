#include "ops/sparse_decode/cpu/sparse_decode.hpp"

#include "attention/cpu/attention.hpp"

namespace seesaw::sparse_decode::cpu {

Support supports(const SparseDecodeProblem&, const Options&) { return attention::cpu::supports(); }

Status plan(const SparseDecodeProblem& problem, const Options& options, KnobValues knobs,
            SparseDecodePlan* plan) {
  plan->problem = problem;
  return attention::cpu::plan(attention_of(problem), options, knobs, plan);
}

Status run(const SparseDecodePlan& plan, const Args& args, const Call& call) {
  SEESAW_RETURN_IF_ERROR(check_host_call(plan, args, call));
  attention::cpu::run(plan, call_of(plan.problem, args, call));
  return {};
}

Status trace(const SparseDecodePlan& plan, const Args& args, const Call& call, Trace* trace) {
  SEESAW_RETURN_IF_ERROR(check_host_call(plan, args, call));
  attention::cpu::trace(plan, call_of(plan.problem, args, call), trace);
  return {};
}

}  // namespace seesaw::sparse_decode::cpu
