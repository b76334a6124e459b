#include "ops/sparse_prefill/plan.hpp"

#include "attention/host.hpp"

namespace seesaw::sparse_prefill {

Status prepare_on_host(const SparsePrefillPlan& plan, const Args& args, const Call& call) {
  return attention::prepare_on_host(plan, call_of(plan.problem, args, call), call.schedule);
}

Status list_pieces(const SparsePrefillPlan& plan, const void* schedule, PieceVisitor visitor) {
  return attention::list_pieces(plan, schedule, visitor);
}

Status check_host_call(const SparsePrefillPlan& plan, const Args& args, const Call& call) {
  SEESAW_RETURN_IF_ERROR(check_call(args));
  SEESAW_RETURN_IF_ERROR(check_lists(plan.problem, plan.options, args));
  return attention::check_on_host(plan, call_of(plan.problem, args, call));
}

}  // namespace seesaw::sparse_prefill
