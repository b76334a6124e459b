// One call of a layer: its tensors, checked, and the operations of libseesaw that it takes.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/status.hpp"
#include "baselines/problem.hpp"
#include "seesaw/layers.h"
#include "seesaw/ops/append.h"
#include "seesaw/ops/dense_decode.h"
#include "seesaw/ops/gather.h"

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

// append, and dense_decode or gather, planned for the call.
class Operations {
 public:
  // Refuses what they refuse: a format that does not fit, say.
  static Status plan(const LayerCall& call, Operations* operations);

  // c_kv, k_rope: of `latent` [b, 1, s, d_latent + d_rope]; turns the rotary columns of every head
  // of q [b, 1, s, h (d_nope + d_rope)], and the key's on its way into the cache.
  Status append(const LayerCall& call, const baselines::View& latent,
                const baselines::View& q) const;

  // q_latent, out: [b, 1, s, h d_latent]; the rotary part is q's.
  Status attend(const LayerCall& call, const baselines::View& q_latent, const baselines::View& q,
                const baselines::View& out) const;

  // Sequence i's tokens: rows [1, 1, length, d_latent + d_rope] of the layer's dtype.
  Status gather(const LayerCall& call, int64_t i, const baselines::View& rows) const;

 private:
  std::optional<Append> append_;
  std::optional<DenseDecode> decode_;
  std::optional<Gather> gather_;
  AlignedBuffer schedule_;
  AlignedBuffer workspace_;  // of the largest
  seesaw_call memory() const;
};

}  // namespace seesaw::layers
