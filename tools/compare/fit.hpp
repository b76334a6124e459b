// Layers with latents fitted to the projections of multi-head attention, by singular values.
//
// DeepSeek's form: keys and values of all heads, stacked, [Wk; Wv] = U S V^T, cut to rank L. The
// latent projection is S^1/2 V^T, the heads' up-projections U S^1/2. The model's norm of the latent
// is switched off by an epsilon far above any mean square, with a weight of its square root, and
// its rotary columns are zero: the given attention has no positions. Exact at full rank.
//
// Traditional MLA: one attention pattern for all heads. The columns of keys (values) of all heads
// are cut to the D' leading left singular directions of Wk (Wv): K' = P_k K, Q' = P_k Q,
// V' = P_v V, reconstruction P_v^T, scores scaled by 1 / sqrt(H D). At full D' this is attention
// with the sum of all heads' scores, which is not multi-head attention: that distance stays.
#pragma once

#include <vector>

#include "compare/reference.hpp"
#include "compare/weights.hpp"

namespace seesaw::tools {

// A fitted layer: its description without batch, tokens and place, and its weights in order.
struct FittedLayer {
  BaselineDescriptor descriptor;
  std::vector<Values> weights;
  double weight_error = 0;  // of the matrix that was cut, relative, Frobenius
  double kept_energy = 1;   // 1 - weight_error^2
};

// The given layer itself.
FittedLayer as_given(const HeadWeights& weights);

class Fitter {
 public:
  explicit Fitter(const HeadWeights& weights);  // decomposes: seconds for large matrices

  // Ranks from 1 to this keep more and more; this one is exact.
  int64_t full_rank() const { return stacked_.s.size(); }
  int64_t full_latent() const { return keys_.s.size(); }                      // D' likewise
  Values spectrum() const { return {stacked_.s.begin(), stacked_.s.end()}; }  // of [Wk; Wv]

  FittedLayer deepseek(int64_t rank, System system) const;
  FittedLayer traditional(int64_t latent) const;

  static constexpr int64_t kRotaryColumns = 8;  // zero; one 16-byte step of 16-bit numbers

 private:
  const HeadWeights& weights_;
  Svd stacked_;  // [Wk; Wv]
  Svd keys_;
  Svd values_;
};

}  // namespace seesaw::tools
