// sm80.dense_decode: attention's core for any GPU (src/attention/sm80) with dense_decode's
// arguments.
#pragma once

#include "ops/dense_decode/plan.hpp"

namespace seesaw::dense_decode::sm80 {

// Never an error, also not on a machine without a GPU.
Support supports(const DenseDecodeProblem& problem, const Options& options);
Status plan(const DenseDecodeProblem& problem, const Options& options, KnobValues knobs,
            DenseDecodePlan* plan);

// Launches on call.stream: nothing is allocated, copied to the host or waited for, except with
// options.check_data.
Status prepare(const DenseDecodePlan& plan, const Args& args, const Call& call);
Status run(const DenseDecodePlan& plan, const Args& args, const Call& call);

struct DenseDecode {
  static constexpr Functions kFunctions = {
      .supports = supports, .plan = plan, .prepare = prepare, .run = run, .pieces = list_pieces};
};

}  // namespace seesaw::dense_decode::sm80
