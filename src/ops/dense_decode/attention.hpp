// dense_decode in the words of src/attention: what its CPU and portable kernels compute.
#pragma once

#include "attention/call.hpp"
#include "ops/dense_decode/plan.hpp"

namespace seesaw::dense_decode {

attention::Problem attention_of(const DenseDecodeProblem& problem);

// `args` may lack what the caller does not need: tensors of data NULL.
attention::Call call_of(const DenseDecodeProblem& problem, const Args& args, const Call& call);

}  // namespace seesaw::dense_decode
