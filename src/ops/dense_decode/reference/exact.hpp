// The reference's results before they are rounded to the output's type: what tests measure against.
#pragma once

#include "ops/dense_decode/problem.hpp"

namespace seesaw::dense_decode::reference {

// Packed arrays of the caller's.
struct ExactResults {
  double* out;  // [b, s_q, h_q, d_v]
  double* lse;  // [b, h_q, s_q]
};

// Same computation as run_dense_decode; arguments.out and arguments.lse are not touched.
void dense_decode_exact(const DenseDecodeProblem& problem, const DenseDecodeArguments& arguments,
                        const ExactResults& results);

}  // namespace seesaw::dense_decode::reference
