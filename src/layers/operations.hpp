// The operations of libseesaw that a call takes, through its public API.
#pragma once

#include <cstdint>
#include <optional>

#include "layers/call.hpp"
#include "seesaw/ops/append.h"
#include "seesaw/ops/dense_decode.h"
#include "seesaw/ops/gather.h"

namespace seesaw::layers {

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
