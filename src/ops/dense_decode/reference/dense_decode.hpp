// reference.dense_decode: attention's definition (src/attention/reference) with dense_decode's
// arguments.
#pragma once

#include "ops/dense_decode/plan.hpp"

namespace seesaw::dense_decode::reference {

Support supports(const DenseDecodeProblem& problem, const Options& options);
Status plan(const DenseDecodeProblem& problem, const Options& options, KnobValues knobs,
            DenseDecodePlan* plan);
Status run(const DenseDecodePlan& plan, const Args& args, const Call& call);

struct DenseDecode {
  static constexpr Functions kFunctions = {.supports = supports,
                                           .plan = plan,
                                           .prepare = prepare_on_host,
                                           .run = run,
                                           .pieces = list_pieces};
};

}  // namespace seesaw::dense_decode::reference
