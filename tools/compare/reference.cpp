#include "compare/reference.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace seesaw::tools {
namespace {

using View = Eigen::Map<const Matrix>;
using Block = Eigen::Ref<const Matrix, 0, Eigen::OuterStride<>>;

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();

double or_default(float value, double otherwise) {
  return value > 0 ? static_cast<double>(value) : otherwise;
}

// Hands out a layer's parameters in their order.
class Parameters {
 public:
  Parameters(const std::vector<Values>& weights, bool bias) : weights_(weights), bias_(bias) {}
  const Values& next() { return weights_[i_++]; }
  // x W^T, W [outputs, inputs]: the next linear layer.
  Matrix apply_without_bias(const Block& x) { return x * matrix_of(next(), x.cols()).transpose(); }
  Matrix apply(const Block& x) {  // with its bias, if layers have one
    Matrix y = apply_without_bias(x);
    if (bias_) {
      y.rowwise() += matrix_of(next(), y.cols()).row(0);
    }
    return y;
  }

 private:
  const std::vector<Values>& weights_;
  bool bias_;
  size_t i_ = 0;
};

// One head: out_i = sum_j softmax_j(scale q_i k_j) v_j; causal: j <= i.
Matrix attend(const Block& q, const Block& k, const Block& v, double scale, bool causal) {
  Matrix scores = scale * q * k.transpose();
  for (int64_t i = 0; i < scores.rows(); ++i) {
    auto row = scores.row(i);
    if (causal) {
      row.tail(row.size() - 1 - i).setConstant(kMinusInfinity);
    }
    row = (row.array() - row.maxCoeff()).exp().matrix().eval();
    row /= row.sum();
  }
  return scores * v;
}

bool is_causal(const BaselineDescriptor& d) { return (d.flags & SEESAW_BASELINE_CAUSAL) != 0; }

int64_t head_columns(const BaselineDescriptor& d) {
  return d.head_dim > 0 ? d.head_dim : d.d_model / d.num_heads;
}

double scale_of(const BaselineDescriptor& d, int64_t columns) {
  return or_default(d.scale, 1 / std::sqrt(static_cast<double>(columns)));
}

// Adjacent pairs turned by position * theta^(-2i / columns).
void rotate(Eigen::Ref<Eigen::RowVectorXd> row, double theta, double position) {
  for (int64_t i = 0; i < row.size(); i += 2) {
    const double angle =
        position * std::pow(theta, -static_cast<double>(i) / static_cast<double>(row.size()));
    const double a = row[i];
    const double b = row[i + 1];
    row[i] = a * std::cos(angle) - b * std::sin(angle);
    row[i + 1] = a * std::sin(angle) + b * std::cos(angle);
  }
}

// One sequence of a layer: x is [n, d_model].
Matrix mha(const BaselineDescriptor& d, const Block& x, Parameters parameters) {
  const int64_t dim = head_columns(d);
  const Matrix q = parameters.apply(x);
  const Matrix k = parameters.apply(x);
  const Matrix v = parameters.apply(x);
  Matrix heads(x.rows(), q.cols());
  for (int64_t c = 0; c < q.cols(); c += dim) {
    heads.middleCols(c, dim) = attend(q.middleCols(c, dim), k.middleCols(c, dim),
                                      v.middleCols(c, dim), scale_of(d, dim), is_causal(d));
  }
  return parameters.apply(heads);
}

Matrix traditional_mla(const BaselineDescriptor& d, const Block& x, Parameters parameters) {
  const int64_t latent = d.d_latent > 0 ? d.d_latent : head_columns(d);
  Matrix q, k, v;  // latents, [n, D']
  if (d.model == SEESAW_BASELINE_CHUNKED_MLA) {
    const Matrix all = parameters.apply(x);  // the latents are its last columns
    q = all.middleCols(all.cols() - 3 * latent, latent);
    k = all.middleCols(all.cols() - 2 * latent, latent);
    v = all.rightCols(latent);
  } else {
    const Matrix wide_q = parameters.apply(x);
    const Matrix wide_k = parameters.apply(x);
    const Matrix wide_v = parameters.apply(x);
    q = parameters.apply(wide_q);
    k = parameters.apply(wide_k);
    v = parameters.apply(wide_v);
  }
  const Matrix wide = parameters.apply(attend(q, k, v, scale_of(d, latent), is_causal(d)));
  return parameters.apply(wide);
}

// Expanded; absorption changes nothing in exact arithmetic.
Matrix deepseek_mla(const BaselineDescriptor& d, const Block& x, Parameters parameters) {
  const int64_t d_qk = d.d_nope + d.d_rope;
  const double theta = d.rope_theta > 0 ? static_cast<double>(d.rope_theta) : 10000;
  Matrix q = parameters.apply_without_bias(x);  // [n, h (nope + rope)]
  Matrix rows = parameters.apply(x);            // [n, latent + rope]
  const View norm = matrix_of(parameters.next(), d.d_latent);
  for (int64_t i = 0; i < x.rows(); ++i) {
    const auto position = static_cast<double>(i);
    auto latent = rows.row(i).head(d.d_latent);
    const double mean = latent.squaredNorm() / static_cast<double>(d.d_latent);
    latent.array() *= norm.row(0).array() / std::sqrt(mean + or_default(d.norm_epsilon, 1e-6));
    rotate(rows.row(i).tail(d.d_rope), theta, position);
    for (int64_t h = 0; h < d.num_heads; ++h) {
      rotate(q.row(i).segment(h * d_qk + d.d_nope, d.d_rope), theta, position);
    }
  }
  const Matrix up =
      parameters.apply_without_bias(rows.leftCols(d.d_latent));  // [n, h (nope + d_v)]
  Matrix out(x.rows(), d.num_heads * d.d_v);
  Matrix keys(x.rows(), d_qk);
  keys.rightCols(d.d_rope) = rows.rightCols(d.d_rope);
  for (int64_t h = 0; h < d.num_heads; ++h) {
    const auto head = up.middleCols(h * (d.d_nope + d.d_v), d.d_nope + d.d_v);
    keys.leftCols(d.d_nope) = head.leftCols(d.d_nope);
    out.middleCols(h * d.d_v, d.d_v) = attend(
        q.middleCols(h * d_qk, d_qk), keys, head.rightCols(d.d_v), scale_of(d, d_qk), is_causal(d));
  }
  return parameters.apply(out);
}

}  // namespace

ReferenceInputs widened(const LayerInputs& inputs) {
  ReferenceInputs wide{widened(inputs.x), {}};
  for (const HostArray& weight : inputs.weights) {
    wide.weights.push_back(widened(weight));
  }
  return wide;
}

Values reference_out(const BaselineDescriptor& d, const ReferenceInputs& inputs) {
  const auto layer = d.model == SEESAW_BASELINE_MHA               ? mha
                     : d.model == SEESAW_BASELINE_TRADITIONAL_MLA ? traditional_mla
                     : d.model == SEESAW_BASELINE_CHUNKED_MLA     ? traditional_mla
                                                                  : deepseek_mla;
  const View x = matrix_of(inputs.x, d.d_model);
  Values out;
  for (int64_t b = 0; b < d.batch; ++b) {
    const Parameters all(inputs.weights, (d.flags & SEESAW_BASELINE_BIAS) != 0);
    const Matrix one = layer(d, x.middleRows(b * d.tokens, d.tokens), all);
    out.insert(out.end(), one.data(), one.data() + one.size());
  }
  return out;
}

LayerError error_of(const Values& out, const Values& reference) {
  LayerError error;
  double differences = 0;
  double sizes = 0;
  for (size_t i = 0; i < reference.size(); ++i) {
    const double difference = std::fabs(out[i] - reference[i]);
    // A NaN is an infinite error: no comparison may lose it.
    error.largest = std::isnan(difference) ? std::numeric_limits<double>::infinity()
                                           : std::max(error.largest, difference);
    differences += difference * difference;
    sizes += reference[i] * reference[i];
  }
  const double relative = differences == 0 ? 0 : std::sqrt(differences / sizes);  // x / 0: infinite
  error.relative = std::isnan(relative) ? std::numeric_limits<double>::infinity() : relative;
  return error;
}

}  // namespace seesaw::tools
