#include "baselines/reference.hpp"

#include <cmath>

namespace seesaw::testing {
namespace {

class Reference {
 public:
  Reference(const ReferenceCall& call, int64_t b, const Rows& all, int64_t tokens)
      : call_(call), layer_(call.layer), b_(b), x_(all), past_(std::ssize(all) - tokens) {}

  Rows run() const {
    switch (layer_.model) {
      case SEESAW_BASELINE_MHA:
        return mha();
      case SEESAW_BASELINE_TRADITIONAL_MLA:
        return traditional();
      case SEESAW_BASELINE_CHUNKED_MLA:
        return combined();
      default:
        return deepseek();
    }
  }

 private:
  Rows linear(const Rows& x, const std::string& name) const {
    const Rows& w = call_.weights.at(name + ".weight");
    const auto bias = call_.weights.find(name + ".bias");
    Rows y(x.size(), Row(w.size()));
    for (size_t t = 0; t < x.size(); ++t) {
      for (size_t o = 0; o < w.size(); ++o) {
        double sum = bias == call_.weights.end() ? 0.0 : bias->second[0][o];
        for (size_t i = 0; i < x[t].size(); ++i) {
          sum += x[t][i] * w[o][i];
        }
        y[t][o] = sum;
      }
    }
    return y;
  }

  static Rows columns(const Rows& x, int64_t begin, int64_t count) {
    Rows part;
    for (const Row& row : x) {
      part.emplace_back(row.begin() + begin, row.begin() + begin + count);
    }
    return part;
  }

  Rows queries(const Rows& all) const { return {all.begin() + past_, all.end()}; }

  // softmax(scale q k^T) v of one head, q the query tokens only.
  Rows attend(int64_t h, const Rows& q, const Rows& k, const Rows& v) const {
    Rows out(q.size(), Row(v[0].size(), 0.0));
    for (size_t i = 0; i < q.size(); ++i) {
      Row weights(k.size(), 0.0);
      double greatest = -HUGE_VAL;
      for (size_t s = 0; s < k.size(); ++s) {
        for (size_t c = 0; c < q[i].size(); ++c) {
          weights[s] += q[i][c] * k[s][c];
        }
        weights[s] *= static_cast<double>(layer_.scale);
        if (!call_.sees(b_, h, static_cast<int64_t>(i), static_cast<int64_t>(s))) {
          weights[s] = -HUGE_VAL;
        }
        greatest = std::max(greatest, weights[s]);
      }
      if (greatest == -HUGE_VAL) {
        continue;  // sees nothing
      }
      double sum = 0.0;
      for (double& weight : weights) {
        weight = std::exp(weight - greatest);
        sum += weight;
      }
      for (size_t s = 0; s < k.size(); ++s) {
        for (size_t c = 0; c < v[s].size(); ++c) {
          out[i][c] += weights[s] / sum * v[s][c];
        }
      }
    }
    return out;
  }

  Rows mha() const {
    const Rows q = queries(linear(x_, "q_proj"));
    const Rows k = linear(x_, "k_proj");
    const Rows v = linear(x_, "v_proj");
    Rows joined(q.size());
    for (int64_t h = 0; h < layer_.num_heads; ++h) {
      const auto head = [&](const Rows& rows) {
        return columns(rows, h * layer_.head_dim, layer_.head_dim);
      };
      append(joined, attend(h, head(q), head(k), head(v)));
    }
    return linear(joined, "out_proj");
  }

  Rows traditional() const {
    const Rows q = linear(linear(x_, "q_proj"), "q_latent_proj");
    const Rows k = linear(linear(x_, "k_proj"), "k_latent_proj");
    const Rows v = linear(linear(x_, "v_proj"), "v_latent_proj");
    return linear(linear(attend(0, queries(q), k, v), "head_reconstruction"), "out_proj");
  }

  Rows combined() const {
    const Rows all = linear(x_, "combined_proj");
    const int64_t first = layer_.num_heads * layer_.head_dim;
    const int64_t d = layer_.d_latent;
    const Rows q = queries(columns(all, first, d));
    const Rows latent = attend(0, q, columns(all, first + d, d), columns(all, first + 2 * d, d));
    return linear(linear(latent, "head_reconstruction"), "out_proj");
  }

  Rows norm(const Rows& x, const std::string& name) const {
    const Row& weight = call_.weights.at(name + ".weight")[0];
    Rows y = x;
    for (Row& row : y) {
      double mean = 0.0;
      for (const double value : row) {
        mean += value * value / static_cast<double>(row.size());
      }
      for (size_t i = 0; i < row.size(); ++i) {
        row[i] *= weight[i] / std::sqrt(mean + static_cast<double>(layer_.norm_epsilon));
      }
    }
    return y;
  }

  // Every token turned by its position.
  Rows rope(const Rows& x) const {
    Rows y = x;
    for (size_t t = 0; t < x.size(); ++t) {
      const auto width = static_cast<double>(x[t].size());
      for (size_t i = 0; i < x[t].size(); i += 2) {
        const double angle = call_.position(b_, static_cast<int64_t>(t)) /
                             std::pow(layer_.rope_theta, static_cast<double>(i) / width);
        y[t][i] = x[t][i] * std::cos(angle) - x[t][i + 1] * std::sin(angle);
        y[t][i + 1] = x[t][i] * std::sin(angle) + x[t][i + 1] * std::cos(angle);
      }
    }
    return y;
  }

  static void append(Rows& to, const Rows& from) {
    for (size_t t = 0; t < to.size(); ++t) {
      to[t].insert(to[t].end(), from[t].begin(), from[t].end());
    }
  }

  Rows deepseek() const {
    const int64_t d_qk = layer_.d_nope + layer_.d_rope;
    const Rows q = layer_.d_q_latent == 0
                       ? linear(x_, "q_proj")
                       : linear(norm(linear(x_, "q_a_proj"), "q_a_layernorm"), "q_b_proj");
    const Rows kv_a = linear(x_, "kv_a_proj_with_mqa");
    const Rows kv = linear(norm(columns(kv_a, 0, layer_.d_latent), "kv_a_layernorm"), "kv_b_proj");
    const Rows k_rope = rope(columns(kv_a, layer_.d_latent, layer_.d_rope));
    Rows joined(x_.size() - static_cast<size_t>(past_));
    for (int64_t h = 0; h < layer_.num_heads; ++h) {
      Rows q_head = columns(q, h * d_qk, layer_.d_nope);
      append(q_head, rope(columns(q, h * d_qk + layer_.d_nope, layer_.d_rope)));
      const int64_t kv_begin = h * (layer_.d_nope + layer_.d_v);
      Rows k_head = columns(kv, kv_begin, layer_.d_nope);
      append(k_head, k_rope);
      append(joined,
             attend(h, queries(q_head), k_head, columns(kv, kv_begin + layer_.d_nope, layer_.d_v)));
    }
    return linear(joined, "o_proj");
  }

  const ReferenceCall& call_;
  const BaselineDescriptor& layer_;
  int64_t b_;
  const Rows& x_;
  int64_t past_;
};

}  // namespace

Rows reference_layer(const ReferenceCall& call, int64_t b, const Rows& all, int64_t tokens) {
  return Reference(call, b, all, tokens).run();
}

}  // namespace seesaw::testing
