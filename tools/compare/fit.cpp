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
  Matrix both(top.rows() + bottom.rows(), top.cols());
  both << top, bottom;
  return both;
}

}  // namespace

FittedLayer as_given(const HeadWeights& w) {
  FittedLayer layer;
  layer.descriptor.model = SEESAW_BASELINE_MHA;
  layer.descriptor.d_model = w.d_model;
  layer.descriptor.num_heads = w.heads;
  layer.descriptor.head_dim = w.head_dim;
  layer.weights = {values_of(w.q), values_of(w.k), values_of(w.v), values_of(w.out)};
  return layer;
}

Fitter::Fitter(const HeadWeights& weights)
    : weights_(weights),
      stacked_(decompose(stack(weights.k, weights.v))),
      keys_(decompose(weights.k)),
      values_(decompose(weights.v)) {}

FittedLayer Fitter::deepseek(int64_t rank, System system) const {
  const HeadWeights& w = weights_;
  const int64_t dim = w.head_dim;
  const int64_t width = w.heads * dim;
  const Eigen::VectorXd root = stacked_.s.head(rank).cwiseSqrt();
  const Matrix parts = stacked_.u.leftCols(rank) * root.asDiagonal();    // keys, then values
  Matrix q = Matrix::Zero(w.heads * (dim + kRotaryColumns), w.d_model);  // rotary rows stay zero
  Matrix down = Matrix::Zero(rank + kRotaryColumns, w.d_model);          // so do the latent's
  Matrix up(2 * width, rank);
  for (int64_t h = 0; h < w.heads; ++h) {
    q.middleRows(h * (dim + kRotaryColumns), dim) = w.q.middleRows(h * dim, dim);
    up.middleRows(h * 2 * dim, dim) = parts.middleRows(h * dim, dim);
    up.middleRows(h * 2 * dim + dim, dim) = parts.middleRows(width + h * dim, dim);
  }
  down.topRows(rank) = root.asDiagonal() * stacked_.v.leftCols(rank).transpose();
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
  layer.weights = {values_of(q), values_of(down), Values(static_cast<size_t>(rank), kNormOffWeight),
                   values_of(up), values_of(w.out)};
  layer.weight_error = stacked_.truncation_error(rank);
  layer.kept_energy = 1 - layer.weight_error * layer.weight_error;
  return layer;
}

FittedLayer Fitter::traditional(int64_t latent) const {
  const HeadWeights& w = weights_;
  const Values keys = values_of(keys_.u.leftCols(latent).transpose());
  const Matrix values = values_.u.leftCols(latent);
  FittedLayer layer;
  BaselineDescriptor& d = layer.descriptor;
  d.model = SEESAW_BASELINE_TRADITIONAL_MLA;
  d.d_model = w.d_model;
  d.num_heads = w.heads;
  d.head_dim = w.head_dim;
  d.d_latent = latent;
  d.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(w.heads * w.head_dim)));
  layer.weights = {
      values_of(w.q),    values_of(w.k),  values_of(w.v), keys, keys, values_of(values.transpose()),
      values_of(values), values_of(w.out)};
  const double k = keys_.truncation_error(latent);
  const double v = values_.truncation_error(latent);
  layer.weight_error = std::max(k, v);
  layer.kept_energy = 1 - layer.weight_error * layer.weight_error;
  return layer;
}

}  // namespace seesaw::tools
