// From the C ABI's sized structs to the library's own types.
#pragma once

#include "base/status.hpp"
#include "ops/dense_decode/problem.hpp"
#include "seesaw/seesaw.h"

namespace seesaw::engine {

// Reads a caller's struct of any version: what an older caller lacks is zero, and what a newer one
// adds must be zero. Strides come back resolved, num_threads >= 1, the problem validated.
Status read_problem(const seesaw_dense_decode_problem* from, DenseDecodeProblem* to);

// A tensor's fields, with unknown dtypes, devices and ranks refused. `name` is for the message.
Status read_tensor(const char* name, const seesaw_tensor& from, TensorView* to);

// The tensors and pointers of one call; sizes of its buffers go into `schedule_bytes` and
// `workspace_bytes`. Not validated against a problem.
struct CallBuffers {
  uint64_t schedule_bytes = 0;
  uint64_t workspace_bytes = 0;
};
Status read_arguments(const seesaw_dense_decode_args* from, DenseDecodeArguments* to,
                      CallBuffers* buffers);

// Writes as much of `from` as the caller's struct_size holds.
Status write_plan_info(const seesaw_dense_decode_plan_info& from,
                       seesaw_dense_decode_plan_info* to);

}  // namespace seesaw::engine
