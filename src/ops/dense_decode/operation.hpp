// The operation dense_decode: what src/operations.cpp lists, and the functions of its table.
#pragma once

#include "ops/dense_decode/problem.hpp"

namespace seesaw::dense_decode {

extern const Operation kOperation;

// Fills in the cache's format and strides, and checks the fields against each other.
Status complete(DenseDecodeProblem* problem);

// Bytes and sequences of a run, see Work.
Work work_of(const DenseDecodeProblem& problem, const Options& options, const Args& args);

}  // namespace seesaw::dense_decode
