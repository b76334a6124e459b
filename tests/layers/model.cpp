#include "layers/model.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>

#include "base/float16.hpp"

namespace seesaw::testing {
namespace {

int64_t count_of(const std::vector<int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

template <typename T>
void encode(const std::vector<double>& values, std::vector<unsigned char>* bytes) {
  bytes->resize(values.size() * sizeof(T));
  for (size_t i = 0; i < values.size(); ++i) {
    const T element = from_float<T>(static_cast<float>(values[i]));
    std::memcpy(bytes->data() + i * sizeof(T), &element, sizeof(T));
  }
}

template <typename T>
std::vector<double> decode(const void* data, int64_t count) {
  std::vector<double> values;
  for (int64_t i = 0; i < count; ++i) {
    T element;
    std::memcpy(&element, static_cast<const T*>(data) + i, sizeof(T));
    values.push_back(static_cast<double>(to_float(element)));
  }
  return values;
}

}  // namespace

std::vector<double> numbers_of(const void* data, seesaw_dtype dtype, int64_t count) {
  return dtype == SEESAW_FLOAT32    ? decode<float>(data, count)
         : dtype == SEESAW_BFLOAT16 ? decode<BFloat16>(data, count)
                                    : decode<Float16>(data, count);
}

std::vector<double> random_numbers(const std::string& name, int64_t count, double deviation) {
  std::seed_seq seed(name.begin(), name.end());
  std::mt19937_64 engine(seed);
  std::normal_distribution<double> normal(0.0, deviation);
  std::vector<double> values(static_cast<size_t>(count));
  std::generate(values.begin(), values.end(), [&] { return normal(engine); });
  return values;
}

Parameter parameter_of(std::vector<int64_t> shape, std::vector<double> values, seesaw_dtype dtype) {
  Parameter made{std::move(shape), std::move(values), {}, dtype};
  dtype == SEESAW_FLOAT32    ? encode<float>(made.values, &made.bytes)
  : dtype == SEESAW_BFLOAT16 ? encode<BFloat16>(made.values, &made.bytes)
                             : encode<Float16>(made.values, &made.bytes);
  made.values = numbers_of(made.bytes.data(), dtype, std::ssize(made.values));
  return made;
}

seesaw_tensor tensor_of(const Parameter& p) {
  seesaw_tensor tensor{.data = const_cast<unsigned char*>(p.bytes.data()),
                       .rank = static_cast<int32_t>(p.shape.size()),
                       .dtype = p.dtype,
                       .device = kCpu};
  int64_t stride = 1;
  for (size_t i = p.shape.size(); i-- > 0;) {
    tensor.shape[i] = p.shape[i];
    tensor.stride[i] = stride;
    stride *= p.shape[i];
  }
  return tensor;
}

Model::Model(const Sizes& s, seesaw_dtype dtype) : sizes_(s) {
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    const bool matrix = shape.size() == 2;
    const double deviation = matrix ? 1.0 / std::sqrt(static_cast<double>(shape[1])) : 0.2;
    std::vector<double> values = random_numbers(name, count_of(shape), deviation);
    if (name.find("norm") != std::string::npos) {
      std::for_each(values.begin(), values.end(), [](double& value) { value += 1.0; });
    }
    parameters_[name] = parameter_of(std::move(shape), std::move(values), dtype);
  };
  const auto add_linear = [&](const std::string& name, int64_t outputs, int64_t inputs) {
    add(name + ".weight", {outputs, inputs});
    if (s.bias) {
      add(name + ".bias", {outputs});
    }
  };
  const int64_t q_columns = s.heads * (s.d_nope + s.d_rope);
  if (s.d_q_latent == 0) {
    add("q_proj.weight", {q_columns, s.d_model});
  } else {
    add_linear("q_a_proj", s.d_q_latent, s.d_model);
    add("q_a_layernorm.weight", {s.d_q_latent});
    add("q_b_proj.weight", {q_columns, s.d_q_latent});
  }
  add_linear("kv_a_proj_with_mqa", s.d_latent + s.d_rope, s.d_model);
  add("kv_a_layernorm.weight", {s.d_latent});
  add("kv_b_proj.weight", {s.heads * (s.d_nope + s.d_v), s.d_latent});
  add_linear("o_proj", s.d_model, s.heads * s.d_v);
}

std::string Model::config() const {
  const Sizes& s = sizes_;
  const auto entry = [](const std::string& name, auto value) {
    return "\"" + name + "\": " + std::to_string(value) + ", ";
  };
  std::string text = "{" + entry("hidden_size", s.d_model) + entry("num_attention_heads", s.heads) +
                     entry("kv_lora_rank", s.d_latent) + entry("qk_nope_head_dim", s.d_nope) +
                     entry("qk_rope_head_dim", s.d_rope) + entry("v_head_dim", s.d_v);
  text += s.d_q_latent == 0 ? "\"q_lora_rank\": null, " : entry("q_lora_rank", s.d_q_latent);
  text += s.interleaved ? "" : "\"rope_interleave\": false, ";
  text += s.bias ? "\"attention_bias\": true, " : "";
  if (s.has_yarn) {
    const Yarn& y = s.yarn;
    text += "\"rope_scaling\": {" + entry("factor", y.factor) +
            entry("original_max_position_embeddings", y.positions) +
            entry("beta_fast", y.beta_fast) + entry("beta_slow", y.beta_slow) +
            entry("mscale", y.mscale) + entry("mscale_all_dim", y.mscale_all_dim) +
            "\"type\": \"yarn\"}, ";
  }
  return text + "\"rope_theta\": 10000, \"rms_norm_eps\": 1e-06}";
}

std::vector<seesaw_named_tensor> Model::tensors() const {
  std::vector<seesaw_named_tensor> named;
  for (const auto& [name, parameter] : parameters_) {
    named.push_back({name.c_str(), tensor_of(parameter)});
  }
  return named;
}

Rows Model::linear(const Rows& x, const std::string& name) const {
  const Parameter& weight = parameters_.at(name + ".weight");
  const auto bias = parameters_.find(name + ".bias");
  const auto outputs = static_cast<size_t>(weight.shape[0]);
  Rows y(x.size(), Row(outputs));
  for (size_t t = 0; t < x.size(); ++t) {
    for (size_t i = 0; i < outputs; ++i) {
      y[t][i] = bias == parameters_.end() ? 0.0 : bias->second.values[i];
      for (size_t k = 0; k < x[t].size(); ++k) {
        y[t][i] += weight.values[i * x[t].size() + k] * x[t][k];
      }
    }
  }
  return y;
}

Rows Model::norm(const Rows& x, const std::string& name) const {
  const std::vector<double>& weight = parameters_.at(name + ".weight").values;
  Rows y = x;
  for (Row& row : y) {
    double squares = 0.0;
    for (size_t i = 0; i < weight.size(); ++i) {
      squares += row[i] * row[i];
    }
    const double size = std::sqrt(squares / static_cast<double>(weight.size()) + 1e-6);
    for (size_t i = 0; i < weight.size(); ++i) {
      row[i] *= weight[i] / size;
    }
  }
  return y;
}

// arXiv:2309.00071, section 3.2: of lambda_i = 2 pi theta^(2i/d), with the published code's bounds.
double Model::frequency(int64_t pair) const {
  constexpr double kTheta = 10000.0;
  const auto d = static_cast<double>(sizes_.d_rope);
  const double plain = 1.0 / std::pow(kTheta, 2.0 * static_cast<double>(pair) / d);
  if (!sizes_.has_yarn) {
    return plain;
  }
  const Yarn& y = sizes_.yarn;
  const auto dimension_of = [&](double turns) {
    const double length = static_cast<double>(y.positions) / (turns * 2.0 * std::acos(-1.0));
    return d * std::log(length) / (2.0 * std::log(kTheta));
  };
  const double low = std::max(std::floor(dimension_of(y.beta_fast)), 0.0);
  const double high = std::min(std::ceil(dimension_of(y.beta_slow)), d - 1.0);
  const double width = low == high ? 0.001 : high - low;
  const double ramp = std::clamp((static_cast<double>(pair) - low) / width, 0.0, 1.0);
  return plain / y.factor * ramp + plain * (1.0 - ramp);
}

// Columns [begin, begin + d_rope) turned.
Row Model::rotated(const Row& x, int64_t begin, int64_t position) const {
  const Yarn& y = sizes_.yarn;
  const double step = 0.1 * std::log(y.factor);
  const double amplitude =
      sizes_.has_yarn ? (step * y.mscale + 1.0) / (step * y.mscale_all_dim + 1.0) : 1.0;
  const int64_t pairs = sizes_.d_rope / 2;
  Row turned = x;
  for (int64_t i = 0; i < pairs; ++i) {
    const auto first = static_cast<size_t>(begin + (sizes_.interleaved ? 2 * i : i));
    const auto second = static_cast<size_t>(begin + (sizes_.interleaved ? 2 * i + 1 : i + pairs));
    const double angle = static_cast<double>(position) * frequency(i);
    turned[first] = amplitude * (x[first] * std::cos(angle) - x[second] * std::sin(angle));
    turned[second] = amplitude * (x[second] * std::cos(angle) + x[first] * std::sin(angle));
  }
  return turned;
}

Rows Model::reference(const Rows& x, const Rows* cached) const {
  const Sizes& s = sizes_;
  const Rows q = s.d_q_latent == 0
                     ? linear(x, "q_proj")
                     : linear(norm(linear(x, "q_a_proj"), "q_a_layernorm"), "q_b_proj");
  Rows latent = norm(linear(x, "kv_a_proj_with_mqa"), "kv_a_layernorm");  // of the first columns
  for (size_t t = 0; t < x.size(); ++t) {
    latent[t] =
        cached != nullptr ? (*cached)[t] : rotated(latent[t], s.d_latent, static_cast<int64_t>(t));
  }
  Rows c = latent;
  std::for_each(c.begin(), c.end(), [&](Row& row) { row.resize(static_cast<size_t>(s.d_latent)); });
  const Rows kv = linear(c, "kv_b_proj");

  const double m = s.has_yarn ? 0.1 * s.yarn.mscale_all_dim * std::log(s.yarn.factor) + 1.0 : 1.0;
  const double scale = m * m / std::sqrt(static_cast<double>(s.d_nope + s.d_rope));
  Rows heads(x.size());
  for (size_t t = 0; t < x.size(); ++t) {
    for (int64_t h = 0; h < s.heads; ++h) {
      const int64_t q_begin = h * (s.d_nope + s.d_rope);
      const auto kv_begin = static_cast<size_t>(h * (s.d_nope + s.d_v));
      const Row turned = rotated(q[t], q_begin + s.d_nope, static_cast<int64_t>(t));
      std::vector<double> weights(t + 1);
      for (size_t key = 0; key <= t; ++key) {
        for (int64_t i = 0; i < s.d_nope; ++i) {
          weights[key] +=
              turned[static_cast<size_t>(q_begin + i)] * kv[key][kv_begin + static_cast<size_t>(i)];
        }
        for (int64_t i = 0; i < s.d_rope; ++i) {
          weights[key] += turned[static_cast<size_t>(q_begin + s.d_nope + i)] *
                          latent[key][static_cast<size_t>(s.d_latent + i)];
        }
        weights[key] *= scale;
      }
      const double greatest = *std::max_element(weights.begin(), weights.end());
      double sum = 0.0;
      for (double& weight : weights) {
        weight = std::exp(weight - greatest);
        sum += weight;
      }
      for (int64_t i = 0; i < s.d_v; ++i) {
        double value = 0.0;
        for (size_t key = 0; key <= t; ++key) {
          value += weights[key] / sum * kv[key][kv_begin + static_cast<size_t>(s.d_nope + i)];
        }
        heads[t].push_back(value);
      }
    }
  }
  return linear(heads, "o_proj");
}

}  // namespace seesaw::testing
