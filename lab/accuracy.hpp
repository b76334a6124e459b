// What the contract allows a result to differ by from the reference: the sum of what each rounding
// of the arithmetic can do, element by element, from the inputs. docs/guide/06-numerics.md derives
// it, under the same names.
#pragma once

#include <vector>

#include "lab/errors.hpp"
#include "lab/sparse_inputs.hpp"
#include "seesaw/ops/dense_decode.h"

namespace seesaw::lab {

// Errors allowed to a call on these inputs, in host memory; outputs are not read. Computed in
// double, apart from the reference kernel.
Allowed allowed_errors(const seesaw_dense_decode_problem& problem,
                       const seesaw_dense_decode_args& inputs);

// The same of sparse decoding and prefill.
Allowed allowed_errors(const SparseInputs& inputs);

}  // namespace seesaw::lab
