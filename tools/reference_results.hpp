// Results to compare: of a call, and of the reference kernel on the same tensors.
#pragma once

#include <string>
#include <vector>

#include "lab/call.hpp"
#include "lab/errors.hpp"
#include "laboratory.hpp"

namespace seesaw::tools {

// The name of an operation's reference kernel; lives as long as the program.
const char* reference_kernel(const std::string& operation);

// Elements of any floating dtype.
std::vector<float> widened(const void* values, int32_t dtype, size_t count);

// What a call wrote, widened to float.
Results results_of(Call& call, int32_t dtype);

inline ResultShape shape_of(const seesaw_dense_decode_problem& problem,
                            const seesaw_dense_decode_args& inputs) {
  const bool ragged = problem.ragged != 0;
  return {ragged ? inputs.q.shape[0] : problem.s_q, problem.h_q, problem.d_v, ragged};
}

// The reference kernel's results on the CPU for inputs in host memory, with the query widened to
// float32, so that they are not rounded to 16 bits.
Results reference_results(seesaw_dense_decode_problem problem, seesaw_dense_decode_args inputs);

}  // namespace seesaw::tools
