// The tensors of one call: from the C ABI's structs to views, checked against the problem that was
// planned. Touches no data.
#pragma once

#include <span>

#include "base/status.hpp"
#include "baselines/problem.hpp"

namespace seesaw::baselines {

// Checks `args` and fills the call's views. `weights` has room for as many views as there are
// parameters; the call points into it.
Status read_arguments(const seesaw_baselines_args& args,
                      std::span<const seesaw_baseline_parameter> parameters,
                      std::span<View> weights, Call* call);

}  // namespace seesaw::baselines
