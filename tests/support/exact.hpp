// The double reference for a call described in the C ABI's structs. Apart from the rest because the
// library's internal headers and its C++ API are not meant to be seen by one file.
#pragma once

#include "seesaw/ops/dense_decode.h"

namespace seesaw::testing {

// Packed results: out [b, s_q, h_q, d_v], lse [b, h_q, s_q]. Of `inputs`, only q, kv_cache,
// block_table, seq_lens and scale are read. Throws std::invalid_argument if they are malformed.
void exact_dense_decode(const seesaw_dense_decode_problem& problem,
                        const seesaw_dense_decode_args& inputs, double* out, double* lse);

}  // namespace seesaw::testing
