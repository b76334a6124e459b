// A layer's parameters as it keeps them: copied from a caller's tensors, in one dtype.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/status.hpp"
#include "baselines/problem.hpp"
#include "seesaw/layers.h"
#include "seesaw/seesaw.hpp"

namespace seesaw::layers {

struct Parameters {
  std::vector<baselines::View> views;  // in the order of baselines::parameters()
  AlignedBuffer memory;
};

// The dtype that a layer of these tensors has by default: that of kv_a_proj_with_mqa.weight.
Status dtype_of(std::span<const seesaw_named_tensor> tensors, const std::string& prefix,
                int32_t* dtype);

// Finds the problem's parameters by prefix and name, checks all of them, then copies them,
// converted to the problem's dtype; FP8 is multiplied by its blocks' scales.
Status read_parameters(std::span<const seesaw_named_tensor> tensors, const std::string& prefix,
                       const baselines::Problem& problem, Parameters* parameters);

}  // namespace seesaw::layers
