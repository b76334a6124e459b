#include "ops/dense_decode/reference/dense_decode.hpp"

#include "ops/dense_decode/attention.hpp"
#include "ops/dense_decode/reference/exact.hpp"

namespace seesaw::dense_decode::reference {

Support supports(const DenseDecodeProblem&, const Options&) { return Support::yes(); }

Status plan(const DenseDecodeProblem& problem, const Options& options, KnobValues knobs,
            DenseDecodePlan* plan) {
  plan->problem = problem;
  return attention::reference::plan(attention_of(problem), options, knobs, plan);
}

Status run(const DenseDecodePlan& plan, const Args& args, const Call& call) {
  SEESAW_RETURN_IF_ERROR(check_host_call(plan, args, call));
  attention::reference::run(plan, attention_call_of(plan.problem, args, call));
  return {};
}

void dense_decode_exact(const DenseDecodeProblem& problem, const Args& args, int32_t num_threads,
                        const ExactResults& results) {
  attention::reference::exact(attention_of(problem), attention_call_of(problem, args, {}),
                              problem.ragged != 0 ? args.q.shape[0] : problem.s_q, num_threads,
                              results);
}

}  // namespace seesaw::dense_decode::reference
