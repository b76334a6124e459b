// The double reference for a call described in the C ABI's structs. Apart from the rest because the
// library's internal headers and its C++ API are not meant to be seen by one file.
#pragma once

#include "seesaw/ops/dense_decode.h"

namespace seesaw::testing {

// Packed results: out [b, s_q, h_q, d_v], lse and max_logits [b, h_q, s_q], ragged [total_q, h_q,
// d_v] and [h_q, total_q]; max_logits NULL: not wanted. Of `inputs`, what is written is not
// touched. Throws std::invalid_argument if they are malformed.
void exact_dense_decode(const seesaw_dense_decode_problem& problem,
                        const seesaw_dense_decode_args& inputs, double* out, double* lse,
                        double* max_logits = nullptr);

}  // namespace seesaw::testing
