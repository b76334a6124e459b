#include "ops/sparse_decode/plan.hpp"

#include "attention/host.hpp"

namespace seesaw::sparse_decode {

Status prepare_on_host(const SparseDecodePlan& plan, const Args& args, const Call& call) {
  return attention::prepare_on_host(plan, call_of(plan.problem, args, call), call.schedule);
}

Status list_pieces(const SparseDecodePlan& plan, const void* schedule, PieceVisitor visitor) {
  return attention::list_pieces(plan, schedule, visitor);
}

Status check_host_call(const SparseDecodePlan& plan, const Args& args, const Call& call) {
  SEESAW_RETURN_IF_ERROR(check_call(plan.problem, args));
  SEESAW_RETURN_IF_ERROR(check_lists(plan.problem, plan.options, args));
  return attention::check_on_host(plan, call_of(plan.problem, args, call));
}

}  // namespace seesaw::sparse_decode
