// reference.sparse_decode: attention's definition (src/attention/reference) with sparse_decode's
// arguments.
#pragma once

#include "ops/sparse_decode/plan.hpp"

namespace seesaw::sparse_decode::reference {

Support supports(const SparseDecodeProblem& problem, const Options& options);
Status plan(const SparseDecodeProblem& problem, const Options& options, KnobValues knobs,
            SparseDecodePlan* plan);
Status run(const SparseDecodePlan& plan, const Args& args, const Call& call);

struct SparseDecode {
  static constexpr Functions kFunctions = {.supports = supports,
                                           .plan = plan,
                                           .prepare = prepare_on_host,
                                           .run = run,
                                           .pieces = list_pieces};
};

}  // namespace seesaw::sparse_decode::reference
