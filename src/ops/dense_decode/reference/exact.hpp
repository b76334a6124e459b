// The reference's results before they are rounded to the output's type: what tests measure against.
#pragma once

#include "ops/dense_decode/problem.hpp"

namespace seesaw::dense_decode::reference {

// Packed arrays of the caller's.
struct ExactResults {
  double* out;  // [b, s_q, h_q, d_v]
  double* lse;  // [b, h_q, s_q]
};

// Same computation as run, on `num_threads` threads; args.out and args.lse are not touched.
void dense_decode_exact(const DenseDecodeProblem& problem, const Args& args, int32_t num_threads,
                        const ExactResults& results);

}  // namespace seesaw::dense_decode::reference
