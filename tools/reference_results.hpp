// Results to compare: of a call, and of the reference kernel on the same tensors.
#pragma once

#include "call.hpp"
#include "errors.hpp"

namespace seesaw::tools {

inline constexpr const char* kReference = "reference.dense_decode";

// What a call wrote, widened to float.
Results results_of(Call& call, seesaw_dtype dtype);

// The reference kernel's results on the CPU for the first descriptor.batch sequences of `tensors`,
// with the query widened to float32, so that they are not rounded to 16 bits.
Results reference_results(DenseDecodeDescriptor descriptor, HostTensors tensors);

}  // namespace seesaw::tools
