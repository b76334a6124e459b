#include "baselines/models.hpp"

#include <vector>

namespace seesaw::baselines {

Status run_model(Ops& ops, const Call& call) {
  switch (call.problem.model) {
    case SEESAW_BASELINE_MHA:
      return mha(ops, call);
    case SEESAW_BASELINE_TRADITIONAL_MLA:
      return traditional_mla(ops, call);
    case SEESAW_BASELINE_CHUNKED_MLA:
      return chunked_mla(ops, call);
    case SEESAW_BASELINE_DEEPSEEK_MLA_EXPANDED:
      return deepseek_mla_expanded(ops, call);
    case SEESAW_BASELINE_DEEPSEEK_MLA_ABSORBED:
      return deepseek_mla_absorbed(ops, call);
  }
  return {StatusCode::kInternalError, "baselines: a model that read_problem let through"};
}

Status rehearse(Ops& ops, const Problem& p, int64_t past) {
  // An address for views of no memory: present, never read.
  void* const nowhere = reinterpret_cast<void*>(Arena::kAlignment);
  std::vector<View> weights;
  for (const seesaw_baseline_parameter& parameter : parameters(p)) {
    weights.push_back(parameter_view(parameter, p.dtype, nowhere));
  }
  const View tokens = packed(nowhere, p.dtype, {p.batch, 1, p.tokens, p.d_model});
  const View cache = packed(nowhere, p.dtype, {p.batch, 1, p.cache_capacity, p.cache_width()});
  return run_model(ops, {.problem = p,
                         .x = tokens,
                         .weights = weights,
                         .mask = {},
                         .positions = {},
                         .cache = p.cache_capacity == 0 ? View{} : cache,
                         .out = tokens,
                         .past = past});
}

}  // namespace seesaw::baselines
