#include "compare/fit.hpp"

#include <algorithm>
#include <cmath>

namespace seesaw::tools {
namespace {

// x / sqrt(mean(x^2) + epsilon) * weight is x to float's precision if epsilon is far above
// mean(x^2) and weight its square root. Powers of two, exact in every dtype; the weight is fp16's
// largest.
constexpr float kNormOffEpsilon = 1073741824.0F;  // 2^30
constexpr double kNormOffWeight = 32768;          // 2^15

Matrix stack(const Matrix& top, const Matrix& bottom) {
  Matrix both(top.rows + bottom.rows, top.columns, top.values);
  both.values.insert(both.values.end(), bottom.values.begin(), bottom.values.end());
  return both;
}

size_t to_size(int64_t value) { return static_cast<size_t>(value); }

// The leading `count` columns of m as rows: [count, m.rows].
Matrix leading_columns_transposed(const Matrix& m, size_t count) {
  Matrix rows(count, m.rows);
  for (size_t i = 0; i < count; ++i) {
    for (size_t j = 0; j < m.rows; ++j) {
      rows.at(i, j) = m.at(j, i);
    }
  }
  return rows;
}

Matrix transposed(const Matrix& m) { return leading_columns_transposed(m, m.columns); }

}  // namespace

FittedLayer as_given(const HeadWeights& w) {
  FittedLayer layer;
  layer.descriptor.model = SEESAW_BASELINE_MHA;
  layer.descriptor.d_model = w.d_model;
  layer.descriptor.num_heads = w.heads;
  layer.descriptor.head_dim = w.head_dim;
  layer.weights = {w.q.values, w.k.values, w.v.values, w.out.values};
  return layer;
}

Fitter::Fitter(const HeadWeights& weights)
    : weights_(weights),
      stacked_(decompose(stack(weights.k, weights.v))),
      keys_(decompose(weights.k)),
      values_(decompose(weights.v)) {}

FittedLayer Fitter::deepseek(int64_t rank, System system) const {
  const HeadWeights& w = weights_;
  const size_t dim = to_size(w.head_dim), heads = to_size(w.heads), width = heads * dim;
  const size_t latent = to_size(rank), rope = to_size(kRotaryColumns), d_model = to_size(w.d_model);
  Matrix q(heads * (dim + rope), d_model);  // a head's rotary rows stay zero
  Matrix down(latent + rope, d_model);      // so do the latent's
  Matrix up(heads * 2 * dim, latent);
  for (size_t h = 0; h < heads; ++h) {
    for (size_t r = 0; r < dim; ++r) {
      const size_t row = h * dim + r;
      std::copy_n(&w.q.values[row * d_model], d_model, &q.values[(h * (dim + rope) + r) * d_model]);
      for (size_t c = 0; c < latent; ++c) {
        const double root = std::sqrt(stacked_.s[c]);
        up.at(h * 2 * dim + r, c) = stacked_.u.at(row, c) * root;
        up.at(h * 2 * dim + dim + r, c) = stacked_.u.at(width + row, c) * root;
      }
    }
  }
  for (size_t c = 0; c < latent; ++c) {
    for (size_t j = 0; j < d_model; ++j) {
      down.at(c, j) = std::sqrt(stacked_.s[c]) * stacked_.v.at(j, c);
    }
  }
  FittedLayer layer;
  BaselineDescriptor& d = layer.descriptor;
  d.model = system == System::kAbsorbed ? SEESAW_BASELINE_DEEPSEEK_MLA_ABSORBED
                                        : SEESAW_BASELINE_DEEPSEEK_MLA_EXPANDED;
  d.d_model = w.d_model;
  d.num_heads = w.heads;
  d.d_latent = rank;
  d.d_nope = w.head_dim;
  d.d_rope = kRotaryColumns;
  d.d_v = w.head_dim;
  d.norm_epsilon = kNormOffEpsilon;
  d.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(w.head_dim)));
  layer.weights = {q.values, down.values, Values(latent, kNormOffWeight), up.values, w.out.values};
  layer.weight_error = stacked_.truncation_error(latent);
  layer.kept_energy = 1 - layer.weight_error * layer.weight_error;
  return layer;
}

FittedLayer Fitter::traditional(int64_t latent) const {
  const HeadWeights& w = weights_;
  const Matrix keys = leading_columns_transposed(keys_.u, to_size(latent));
  const Matrix values = leading_columns_transposed(values_.u, to_size(latent));
  FittedLayer layer;
  BaselineDescriptor& d = layer.descriptor;
  d.model = SEESAW_BASELINE_TRADITIONAL_MLA;
  d.d_model = w.d_model;
  d.num_heads = w.heads;
  d.head_dim = w.head_dim;
  d.d_latent = latent;
  d.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(w.heads * w.head_dim)));
  layer.weights = {w.q.values,
                   w.k.values,
                   w.v.values,
                   keys.values,
                   keys.values,
                   values.values,
                   transposed(values).values,
                   w.out.values};
  const double k = keys_.truncation_error(to_size(latent));
  const double v = values_.truncation_error(to_size(latent));
  layer.weight_error = std::max(k, v);
  layer.kept_energy = 1 - layer.weight_error * layer.weight_error;
  return layer;
}

}  // namespace seesaw::tools
