// The compiled instances of the kernel.
#pragma once

#include "ops/dense_decode/sm90/kernels.hpp"

namespace seesaw::dense_decode::sm90::three {

// As sm90::find_attention_kernel.
AttentionKernel find_attention_kernel(DType element, int64_t d_qk);

}  // namespace seesaw::dense_decode::sm90::three
