// The reference's results before they are rounded to the output's type: what tests measure against.
#pragma once

#include "attention/reference/attention.hpp"
#include "ops/dense_decode/problem.hpp"

namespace seesaw::dense_decode {

using ExactResults = attention::reference::ExactResults;

// Same computation as reference.dense_decode's, on `num_threads` threads; the outputs of `args` are
// not touched.
void dense_decode_exact(const DenseDecodeProblem& problem, const Args& args, int32_t num_threads,
                        const ExactResults& results);

}  // namespace seesaw::dense_decode
