// The layer itself, over the operations of the baselines and of libseesaw.
#pragma once

#include <span>

#include "baselines/ops.hpp"
#include "layers/operations.hpp"

namespace seesaw::layers {

enum class Pass { kRehearsal, kRun };

// Its steps in order. A rehearsal goes through the same products and the same memory, and touches
// nothing else. weights: in the order of baselines::parameters().
Status forward(baselines::Ops& ops, Pass pass, const LayerCall& call, const Operations& operations,
               std::span<const baselines::View> weights);

}  // namespace seesaw::layers
