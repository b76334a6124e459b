#include "ops/dense_decode/sm90/three/three.hpp"

#include "ops/dense_decode/sm90/three/kernels.hpp"

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

}  // namespace seesaw::dense_decode::sm90::three
