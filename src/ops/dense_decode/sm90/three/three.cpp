#include "ops/dense_decode/sm90/three/three.hpp"

#include "gpu/sm90/tile.hpp"
#include "ops/dense_decode/sm90/three/kernels.hpp"
#include "ops/dense_decode/sm90/trace.hpp"

namespace seesaw::dense_decode::sm90::three {

Support supports(const DenseDecodeProblem& problem, const Options& options) {
  if (problem.q_type() != problem.kv_type()) {
    return Support::no("q_dtype and kv_format differ, needs the same");
  }
  return sm90::supports(problem, options);
}

Status run(const DenseDecodePlan& plan, const Args& args, const Call& call) {
  return run_by(find_attention_kernel, plan, args, call);
}

Status trace(const DenseDecodePlan& plan, const Args& args, const Call& call, Trace* trace) {
  return trace_by({.lanes = 2,  // the scores, the left half of the output
                   .set_blocks = set_trace_blocks,
                   .launch = {launch_traced, kHalfBoxes}},
                  plan, args, call, trace);
}

}  // namespace seesaw::dense_decode::sm90::three
