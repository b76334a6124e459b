// cpu.sparse_decode: attention's CPU core (src/attention/cpu) with sparse_decode's arguments.
#pragma once

#include "ops/sparse_decode/plan.hpp"

namespace seesaw::sparse_decode::cpu {

Support supports(const SparseDecodeProblem& problem, const Options& options);
Status plan(const SparseDecodeProblem& problem, const Options& options, KnobValues knobs,
            SparseDecodePlan* plan);
// Allocates nothing; thread-safe for different workspaces.
Status run(const SparseDecodePlan& plan, const Args& args, const Call& call);
Status trace(const SparseDecodePlan& plan, const Args& args, const Call& call, Trace* trace);

struct SparseDecode {
  static constexpr Functions kFunctions = {.supports = supports,
                                           .plan = plan,
                                           .prepare = prepare_on_host,
                                           .run = run,
                                           .trace = trace,
                                           .pieces = list_pieces};
};

}  // namespace seesaw::sparse_decode::cpu
