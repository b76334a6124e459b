#include "compare/reference.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace seesaw::tools {
namespace {

size_t to_size(int64_t value) { return static_cast<size_t>(value); }

// A matrix in row-major memory of somebody else: rows `stride` apart.
struct Rows {
  const double* data;
  size_t rows;
  size_t columns;
  size_t stride;

  const double* row(size_t i) const { return data + i * stride; }
};

Rows rows_of(const Values& values, size_t columns) {
  return {values.data(), values.size() / columns, columns, columns};
}

Rows columns_of(const Rows& all, size_t begin, size_t count) {
  return {all.data + begin, all.rows, count, all.stride};
}

// Four sums, so that one addition need not wait for the last.
double dot(const double* a, const double* b, size_t count) {
  double sums[4] = {};
  size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    for (size_t k = 0; k < 4; ++k) {
      sums[k] += a[i + k] * b[i + k];
    }
  }
  for (; i < count; ++i) {
    sums[0] += a[i] * b[i];
  }
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// y = x W^T + b, W [outputs, inputs]; bias may be null.
Values linear(const Rows& x, const Values& weight, const Values* bias) {
  const Rows w = rows_of(weight, x.columns);
  Values y(x.rows * w.rows);
#pragma omp parallel for
  for (size_t o = 0; o < w.rows; ++o) {
    for (size_t i = 0; i < x.rows; ++i) {
      y[i * w.rows + o] = dot(x.row(i), w.row(o), x.columns) + (bias != nullptr ? (*bias)[o] : 0.0);
    }
  }
  return y;
}

// Attention of one head: out[i] = sum_j softmax_j(scale q_i k_j) v_j; causal: j <= i.
struct Head {
  Rows q;
  Rows k;
  Rows v;
  double scale;
  bool causal;
};

void attend(const Head& head, double* out, size_t out_stride) {
  Values scores(head.k.rows);
  for (size_t i = 0; i < head.q.rows; ++i) {
    const size_t keys = head.causal ? i + 1 : head.k.rows;
    double most = -std::numeric_limits<double>::infinity();
    for (size_t j = 0; j < keys; ++j) {
      scores[j] = head.scale * dot(head.q.row(i), head.k.row(j), head.q.columns);
      most = std::max(most, scores[j]);
    }
    double sum = 0;
    for (size_t j = 0; j < keys; ++j) {
      scores[j] = std::exp(scores[j] - most);
      sum += scores[j];
    }
    double* row = out + i * out_stride;
    std::fill_n(row, head.v.columns, 0.0);
    for (size_t j = 0; j < keys; ++j) {
      for (size_t c = 0; c < head.v.columns; ++c) {
        row[c] += scores[j] / sum * head.v.row(j)[c];
      }
    }
  }
}

void rms_norm(const Values& weight, double epsilon, double* row) {
  const double mean = dot(row, row, weight.size()) / static_cast<double>(weight.size());
  for (size_t c = 0; c < weight.size(); ++c) {
    row[c] *= weight[c] / std::sqrt(mean + epsilon);
  }
}

// Adjacent pairs turned by position * theta^(-2i / columns).
void rotate(double* row, size_t columns, double theta, double position) {
  for (size_t i = 0; i < columns; i += 2) {
    const double angle =
        position * std::pow(theta, -static_cast<double>(i) / static_cast<double>(columns));
    const double a = row[i];
    const double b = row[i + 1];
    row[i] = a * std::cos(angle) - b * std::sin(angle);
    row[i + 1] = a * std::sin(angle) + b * std::cos(angle);
  }
}

// Hands out a layer's parameters in their order.
class Parameters {
 public:
  Parameters(const std::vector<Values>& weights, bool bias) : weights_(weights), bias_(bias) {}
  const Values& next() { return weights_[i_++]; }
  Values apply(const Rows& x) {  // the next linear layer, with its bias if layers have one
    const Values& weight = next();
    return linear(x, weight, bias_ ? &next() : nullptr);
  }
  Values apply_without_bias(const Rows& x) { return linear(x, next(), nullptr); }

 private:
  const std::vector<Values>& weights_;
  bool bias_;
  size_t i_ = 0;
};

// One sequence of a layer: x is [n, d_model].
Values mha(const BaselineDescriptor& d, const Rows& x, Parameters parameters) {
  const size_t dim = to_size(d.head_dim > 0 ? d.head_dim : d.d_model / d.num_heads);
  const size_t width = to_size(d.num_heads) * dim;
  const Values q = parameters.apply(x);
  const Values k = parameters.apply(x);
  const Values v = parameters.apply(x);
  Values heads(x.rows * width);
  for (size_t h = 0; h < to_size(d.num_heads); ++h) {
    const auto head = [&](const Values& all) {
      return columns_of(rows_of(all, width), h * dim, dim);
    };
    const double scale =
        d.scale > 0 ? static_cast<double>(d.scale) : 1 / std::sqrt(static_cast<double>(dim));
    attend({head(q), head(k), head(v), scale, (d.flags & SEESAW_BASELINE_CAUSAL) != 0},
           heads.data() + h * dim, width);
  }
  return parameters.apply(rows_of(heads, width));
}

Values traditional_mla(const BaselineDescriptor& d, const Rows& x, Parameters parameters) {
  const size_t dim = to_size(d.head_dim > 0 ? d.head_dim : d.d_model / d.num_heads);
  const size_t width = to_size(d.num_heads) * dim;
  const size_t latent = to_size(d.d_latent > 0 ? d.d_latent : static_cast<int64_t>(dim));
  Values q, k, v;  // latents, [n, D']
  if (d.model == SEESAW_BASELINE_CHUNKED_MLA) {
    const Values all = parameters.apply(x);
    const size_t skipped = (d.flags & SEESAW_BASELINE_SKIP_UNUSED) != 0 ? 0 : width;
    const Rows rows = rows_of(all, skipped + 3 * latent);
    Values* const parts[] = {&q, &k, &v};
    for (size_t part = 0; part < 3; ++part) {
      for (size_t i = 0; i < rows.rows; ++i) {
        const double* from = rows.row(i) + skipped + part * latent;
        parts[part]->insert(parts[part]->end(), from, from + latent);
      }
    }
  } else {
    const Values wide_q = parameters.apply(x);
    const Values wide_k = parameters.apply(x);
    const Values wide_v = parameters.apply(x);
    q = parameters.apply(rows_of(wide_q, width));
    k = parameters.apply(rows_of(wide_k, width));
    v = parameters.apply(rows_of(wide_v, width));
  }
  Values attended(x.rows * latent);
  const double scale =
      d.scale > 0 ? static_cast<double>(d.scale) : 1 / std::sqrt(static_cast<double>(latent));
  attend({rows_of(q, latent), rows_of(k, latent), rows_of(v, latent), scale,
          (d.flags & SEESAW_BASELINE_CAUSAL) != 0},
         attended.data(), latent);
  const Values wide = parameters.apply(rows_of(attended, latent));
  return parameters.apply(rows_of(wide, width));
}

// Expanded; absorption changes nothing in exact arithmetic.
Values deepseek_mla(const BaselineDescriptor& d, const Rows& x, Parameters parameters) {
  const size_t latent = to_size(d.d_latent), nope = to_size(d.d_nope), rope = to_size(d.d_rope);
  const size_t d_v = to_size(d.d_v), heads = to_size(d.num_heads), n = x.rows;
  const size_t d_qk = nope + rope;
  const double theta = d.rope_theta > 0 ? d.rope_theta : 10000;
  const double epsilon = d.norm_epsilon > 0 ? static_cast<double>(d.norm_epsilon) : 1e-6;
  Values q = parameters.apply_without_bias(x);  // [n, h (nope + rope)]
  Values rows = parameters.apply(x);            // [n, latent + rope]
  const Values& norm = parameters.next();
  Values latents(n * latent);
  for (size_t i = 0; i < n; ++i) {
    double* row = rows.data() + i * (latent + rope);
    rms_norm(norm, epsilon, row);
    rotate(row + latent, rope, theta, static_cast<double>(i));
    std::copy_n(row, latent, latents.data() + i * latent);
    for (size_t h = 0; h < heads; ++h) {
      rotate(q.data() + (i * heads + h) * d_qk + nope, rope, theta, static_cast<double>(i));
    }
  }
  const Values up = parameters.apply_without_bias(rows_of(latents, latent));  // [n, h (nope + d_v)]
  const double scale =
      d.scale > 0 ? static_cast<double>(d.scale) : 1 / std::sqrt(static_cast<double>(d_qk));
  Values out(n * heads * d_v);
  Values keys(n * d_qk);
  for (size_t h = 0; h < heads; ++h) {
    const Rows head = columns_of(rows_of(up, heads * (nope + d_v)), h * (nope + d_v), nope + d_v);
    for (size_t i = 0; i < n; ++i) {
      std::copy_n(head.row(i), nope, keys.data() + i * d_qk);
      std::copy_n(rows.data() + i * (latent + rope) + latent, rope, keys.data() + i * d_qk + nope);
    }
    attend({columns_of(rows_of(q, heads * d_qk), h * d_qk, d_qk), rows_of(keys, d_qk),
            columns_of(head, nope, d_v), scale, (d.flags & SEESAW_BASELINE_CAUSAL) != 0},
           out.data() + h * d_v, heads * d_v);
  }
  return parameters.apply(rows_of(out, heads * d_v));
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
  const size_t columns = to_size(d.d_model);
  const size_t tokens = to_size(d.tokens);
  Values out;
  for (int64_t b = 0; b < d.batch; ++b) {
    const Rows x{inputs.x.data() + to_size(b) * tokens * columns, tokens, columns, columns};
    const Parameters all(inputs.weights, (d.flags & SEESAW_BASELINE_BIAS) != 0);
    const bool traditional =
        d.model == SEESAW_BASELINE_TRADITIONAL_MLA || d.model == SEESAW_BASELINE_CHUNKED_MLA;
    const Values one = d.model == SEESAW_BASELINE_MHA ? mha(d, x, all)
                       : traditional                  ? traditional_mla(d, x, all)
                                                      : deepseek_mla(d, x, all);
    out.insert(out.end(), one.begin(), one.end());
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
