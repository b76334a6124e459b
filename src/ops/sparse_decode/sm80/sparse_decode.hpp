// sm80.sparse_decode: attention's core for any GPU (src/attention/sm80) with sparse_decode's
// arguments.
#pragma once

#include "ops/sparse_decode/plan.hpp"

namespace seesaw::sparse_decode::sm80 {

// Never an error, also not on a machine without a GPU.
Support supports(const SparseDecodeProblem& problem, const Options& options);
Status plan(const SparseDecodeProblem& problem, const Options& options, KnobValues knobs,
            SparseDecodePlan* plan);

// Launches on call.stream: nothing is allocated, copied to the host or waited for.
Status prepare(const SparseDecodePlan& plan, const Args& args, const Call& call);
Status run(const SparseDecodePlan& plan, const Args& args, const Call& call);

struct SparseDecode {
  static constexpr Functions kFunctions = {
      .supports = supports, .plan = plan, .prepare = prepare, .run = run, .pieces = list_pieces};
};

}  // namespace seesaw::sparse_decode::sm80
