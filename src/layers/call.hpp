// One call of a layer: its tensors, checked, and where its tokens go.
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.hpp"
#include "baselines/problem.hpp"
#include "seesaw/layers.h"

namespace seesaw::layers {

enum class Form { kAbsorbed, kExpanded };

// Checked: shapes, lengths, page ids. Touches no cache.
struct LayerCall {
  baselines::Problem problem;  // with the call's batch and tokens
  bool interleaved = true;
  baselines::View x;    // [b, 1, s, d_model]
  baselines::View out;  // the same
  seesaw_mla_layer_args args;
  std::vector<int32_t> lengths;  // [b], none negative
  Form form = Form::kAbsorbed;

  // Per new token, [b s]: what append takes.
  std::vector<int64_t> slots;  // negative: a row without a token
  std::vector<int64_t> rows;   // of cos_sin: its own
  std::vector<float> cos_sin;  // [b s, d_rope]

  int64_t tokens() const { return problem.batch * problem.tokens; }
  // New tokens of sequence i, the last ones of its rows.
  int64_t new_tokens(int64_t i) const;
};

// `layer`: the problem of the layer, whose batch and tokens are the call's to tell.
Status read_call(const seesaw_mla_layer_args& args, const baselines::Problem& layer,
                 bool interleaved, LayerCall* call);

}  // namespace seesaw::layers
