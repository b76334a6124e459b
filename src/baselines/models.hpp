// The models: each a file of plain calls that reads like its equations.
#pragma once

#include "baselines/ops.hpp"
#include "baselines/problem.hpp"

namespace seesaw::baselines {

Status mha(Ops& ops, const Call& call);
Status traditional_mla(Ops& ops, const Call& call);
Status chunked_mla(Ops& ops, const Call& call);
Status deepseek_mla_expanded(Ops& ops, const Call& call);
Status deepseek_mla_absorbed(Ops& ops, const Call& call);

// The one that the call's problem names.
Status run_model(Ops& ops, const Call& call);

// Runs the problem's model over views of no memory, to measure and to record what it does.
Status rehearse(Ops& ops, const Problem& problem, int64_t past);

}  // namespace seesaw::baselines
