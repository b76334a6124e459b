// The layers in double, by their equations (see seesaw/baselines.h) and Eigen's products: what
// results of every system and dtype are held against. Shares no code with the library.
#pragma once

#include <vector>

#include "compare/layer.hpp"
#include "compare/matrix.hpp"

namespace seesaw::tools {

// A layer's inputs, widened.
struct ReferenceInputs {
  Values x;                     // [b, n, d_model]
  std::vector<Values> weights;  // in the order of parameters()
};
ReferenceInputs widened(const LayerInputs& inputs);

// out [b, n, d_model] of a call without a past. For the fields that a descriptor leaves at 0 the
// defaults of seesaw/baselines.h hold.
Values reference_out(const BaselineDescriptor& descriptor, const ReferenceInputs& inputs);

// How far `out` is from `reference`.
struct LayerError {
  double relative = 0;  // ||out - reference|| / ||reference||
  double largest = 0;   // of |out - reference|
};
LayerError error_of(const Values& out, const Values& reference);

}  // namespace seesaw::tools
