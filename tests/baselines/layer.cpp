#include "baselines/layer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>

#include "base/float16.hpp"
#include "support/guarded_buffer.hpp"

namespace seesaw::testing {
namespace {

int64_t count_of(const std::vector<int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

int64_t bytes_of(seesaw_dtype dtype) { return dtype == SEESAW_FLOAT32 ? 4 : 2; }

template <typename T>
void encode_as(const std::vector<double>& values, unsigned char* to) {
  for (size_t i = 0; i < values.size(); ++i) {
    const T element = from_float<T>(static_cast<float>(values[i]));
    std::memcpy(to + i * sizeof(T), &element, sizeof(T));
  }
}

template <typename T>
std::vector<double> decode_as(const unsigned char* from, int64_t count) {
  std::vector<double> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    T element;
    std::memcpy(&element, from + i * sizeof(T), sizeof(T));
    values[i] = static_cast<double>(to_float(element));
  }
  return values;
}

void encode(seesaw_dtype dtype, const std::vector<double>& values, unsigned char* to) {
  dtype == SEESAW_FLOAT32    ? encode_as<float>(values, to)
  : dtype == SEESAW_BFLOAT16 ? encode_as<BFloat16>(values, to)
                             : encode_as<Float16>(values, to);
}

std::vector<double> decode(seesaw_dtype dtype, const unsigned char* from, int64_t count) {
  return dtype == SEESAW_FLOAT32    ? decode_as<float>(from, count)
         : dtype == SEESAW_BFLOAT16 ? decode_as<BFloat16>(from, count)
                                    : decode_as<Float16>(from, count);
}

seesaw_tensor tensor_of(const void* data, int32_t dtype, const std::vector<int64_t>& shape) {
  seesaw_tensor tensor{};
  tensor.data = const_cast<void*>(data);
  tensor.dtype = dtype;
  tensor.device = kCpu;
  tensor.rank = static_cast<int32_t>(shape.size());
  int64_t stride = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    tensor.shape[i] = shape[i];
    tensor.stride[i] = stride;
    stride *= shape[i];
  }
  return tensor;
}

// Memory of a tensor between guard bands, filled with NaN.
struct Guarded {
  Guarded(seesaw_dtype dtype, std::vector<int64_t> dims)
      : shape(std::move(dims)),
        memory(std::make_unique<GuardedBuffer>(
            static_cast<size_t>(count_of(shape) * bytes_of(dtype)))),
        tensor(tensor_of(memory->data(), dtype, shape)) {}

  std::vector<int64_t> shape;
  std::unique_ptr<GuardedBuffer> memory;
  seesaw_tensor tensor;
};

Guarded guarded_copy(seesaw_dtype dtype, const Array& array) {
  Guarded copy(dtype, array.shape);
  encode(dtype, array.values, copy.memory->data());
  return copy;
}

BaselineDescriptor with_defaults(BaselineDescriptor d) {
  const auto otherwise = [](auto& value, auto fallback) {
    value = value == 0 ? static_cast<std::decay_t<decltype(value)>>(fallback) : value;
  };
  if (d.model == SEESAW_BASELINE_DEEPSEEK_MLA_EXPANDED ||
      d.model == SEESAW_BASELINE_DEEPSEEK_MLA_ABSORBED) {
    otherwise(d.d_latent, 512);
    otherwise(d.d_nope, 128);
    otherwise(d.d_rope, 64);
    otherwise(d.d_v, 128);
    otherwise(d.rope_theta, 10000.0);
    otherwise(d.norm_epsilon, 1e-6F);
    otherwise(d.scale, 1.0 / std::sqrt(static_cast<double>(d.d_nope + d.d_rope)));
    return d;
  }
  otherwise(d.head_dim, d.d_model / d.num_heads);
  otherwise(d.d_latent, d.head_dim);
  const int64_t width = d.model == SEESAW_BASELINE_MHA ? d.head_dim : d.d_latent;
  otherwise(d.scale, 1.0 / std::sqrt(static_cast<double>(width)));
  return d;
}

Array random_weight(seesaw_dtype dtype, const seesaw_baseline_parameter& parameter) {
  const std::string name = parameter.name;
  if (parameter.rank == 2) {
    const double deviation = 1.5 / std::sqrt(static_cast<double>(parameter.shape[1]));
    return {
        {parameter.shape[0], parameter.shape[1]},
        rounded(dtype, random_values(name, parameter.shape[0] * parameter.shape[1], deviation))};
  }
  std::vector<double> values = random_values(name, parameter.shape[0], 0.3);
  if (name.find("norm") != std::string::npos) {
    std::for_each(values.begin(), values.end(), [](double& value) { value += 1.0; });
  }
  return {{parameter.shape[0]}, rounded(dtype, std::move(values))};
}

Rows rows_of(const Array& array) {
  const int64_t columns = array.shape.back();
  Rows rows;
  for (int64_t i = 0; i < count_of(array.shape); i += columns) {
    rows.emplace_back(array.values.begin() + i, array.values.begin() + i + columns);
  }
  return rows;
}

}  // namespace

std::vector<double> rounded(seesaw_dtype dtype, std::vector<double> values) {
  std::vector<unsigned char> bytes(values.size() * static_cast<size_t>(bytes_of(dtype)));
  encode(dtype, values, bytes.data());
  return decode(dtype, bytes.data(), std::ssize(values));
}

std::vector<double> random_values(const std::string& name, int64_t count, double deviation) {
  std::seed_seq seed(name.begin(), name.end());
  std::mt19937_64 engine(seed);
  std::normal_distribution<double> normal(0.0, deviation);
  std::vector<double> values(static_cast<size_t>(count));
  std::generate(values.begin(), values.end(), [&] { return normal(engine); });
  return values;
}

Layer::Layer(BaselineDescriptor descriptor)
    : descriptor_(with_defaults(descriptor)),
      plan_(descriptor),
      parameters_(parameters(descriptor)) {
  for (const seesaw_baseline_parameter& parameter : parameters_) {
    weights_.push_back(random_weight(descriptor.dtype, parameter));
  }
  const int64_t elements = descriptor.batch * descriptor.cache_capacity * plan_.info().cache_width;
  cache_.assign(static_cast<size_t>(elements * bytes_of(descriptor.dtype)),
                GuardedBuffer::kPoisonByte);
}

Array& Layer::weight(const std::string& name) {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (parameters_[i].name == name) {
      return weights_[i];
    }
  }
  throw std::out_of_range(name);
}

Array Layer::random_x(const BaselineDescriptor& descriptor, int64_t tokens) {
  const std::vector<int64_t> shape{descriptor.batch, tokens, descriptor.d_model};
  return {shape, rounded(descriptor.dtype, random_values("x", count_of(shape), 1.0))};
}

Array Layer::run(const LayerCall& call) {
  const BaselineDescriptor& d = descriptor_;
  std::vector<Guarded> weights;
  BaselineTensors tensors{};
  for (const Array& array : weights_) {
    weights.push_back(guarded_copy(d.dtype, array));
    tensors.weights.push_back(weights.back().tensor);
  }
  const Guarded x = guarded_copy(d.dtype, call.x);
  const Guarded out(d.dtype, call.x.shape);
  tensors.x = x.tensor;
  tensors.out = out.tensor;
  tensors.past_tokens = call.past;

  const int64_t width = plan_.info().cache_width;
  const Guarded cache(d.dtype, {d.batch, d.cache_capacity, width});
  if (d.cache_capacity > 0) {
    std::copy(cache_.begin(), cache_.end(), cache.memory->data());
    tensors.cache = cache.tensor;
  }
  const int64_t keys = call.past + d.tokens;
  const int64_t heads = call.mask_of_each_head ? d.num_heads : 1;
  std::vector<uint8_t> mask;
  if (call.mask != nullptr) {
    for (int64_t i = 0; i < d.batch * heads * d.tokens * keys; ++i) {
      const int64_t query = i / keys;
      mask.push_back(
          call.mask(query / d.tokens / heads, query / d.tokens % heads, query % d.tokens, i % keys)
              ? 1
              : 0);
    }
    tensors.mask = tensor_of(mask.data(), SEESAW_BASELINE_UINT8, {d.batch, heads, d.tokens, keys});
  }
  if (!call.positions.empty()) {
    tensors.positions = tensor_of(call.positions.data(), SEESAW_INT32, {d.batch, d.tokens});
  }
  const GuardedBuffer workspace(plan_.workspace_bytes());
  tensors.workspace = workspace.data();
  tensors.workspace_bytes = workspace.size();
  plan_.run(tensors);

  EXPECT_TRUE(workspace.intact() && out.memory->intact() && cache.memory->intact());
  for (size_t i = 0; i < weights.size(); ++i) {
    EXPECT_EQ(decode(d.dtype, weights[i].memory->data(), std::ssize(weights_[i].values)),
              weights_[i].values)
        << parameters_[i].name << " was written to";
  }
  const int64_t row_bytes = width * bytes_of(d.dtype);
  for (int64_t row = 0; row < d.batch * d.cache_capacity; ++row) {
    const int64_t token = row % d.cache_capacity;
    if (token < call.past || token >= keys) {
      EXPECT_EQ(std::memcmp(cache.memory->data() + row * row_bytes, cache_.data() + row * row_bytes,
                            static_cast<size_t>(row_bytes)),
                0)
          << "cache row " << token << " changed";
    }
  }
  if (d.cache_capacity > 0) {
    cache_.assign(cache.memory->data(), cache.memory->data() + cache_.size());
  }
  return {call.x.shape, decode(d.dtype, out.memory->data(), count_of(call.x.shape))};
}

bool Layer::sees(const LayerCall& call, int64_t b, int64_t h, int64_t i, int64_t s) const {
  const bool causal = (descriptor_.flags & SEESAW_BASELINE_CAUSAL) != 0;
  if (causal && s > call.past + i) {
    return false;
  }
  return call.mask == nullptr || call.mask(b, call.mask_of_each_head ? h : 0, i, s);
}

Array Layer::reference(const LayerCall& call, const Array& all_tokens) const {
  ReferenceCall reference;
  reference.layer = descriptor_;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    reference.weights[parameters_[i].name] = rows_of(weights_[i]);
  }
  reference.sees = [&](int64_t b, int64_t h, int64_t i, int64_t s) {
    return sees(call, b, h, i, s);
  };
  reference.position = [&](int64_t b, int64_t token) {
    const int64_t fresh = token - call.past;
    return call.positions.empty() || fresh < 0
               ? static_cast<double>(token)
               : static_cast<double>(
                     call.positions[static_cast<size_t>(b * descriptor_.tokens + fresh)]);
  };
  Array out{{descriptor_.batch, descriptor_.tokens, descriptor_.d_model}, {}};
  for (int64_t b = 0; b < descriptor_.batch; ++b) {
    const Rows all = rows_of(all_tokens);
    const int64_t length = all_tokens.shape[1];
    const Rows sequence(all.begin() + b * length, all.begin() + (b + 1) * length);
    for (const Row& row : reference_layer(reference, b, sequence, descriptor_.tokens)) {
      out.values.insert(out.values.end(), row.begin(), row.end());
    }
  }
  return out;
}

Array tokens_of(const Array& x, int64_t begin, int64_t end) {
  Array part{{x.shape[0], end - begin, x.shape[2]}, {}};
  for (int64_t b = 0; b < x.shape[0]; ++b) {
    const auto first = x.values.begin() + b * x.shape[1] * x.shape[2];
    part.values.insert(part.values.end(), first + begin * x.shape[2], first + end * x.shape[2]);
  }
  return part;
}

Difference difference(const Array& got, const Array& want) {
  EXPECT_EQ(got.shape, want.shape);
  Difference result;
  double squares = 0.0;
  double scale = 0.0;
  for (size_t i = 0; i < want.values.size(); ++i) {
    const double error = std::fabs(got.values[i] - want.values[i]);
    result.greatest = error > result.greatest || std::isnan(error) ? error : result.greatest;
    squares += error * error;
    scale += want.values[i] * want.values[i];
  }
  result.relative = std::sqrt(squares / scale);
  return result;
}

}  // namespace seesaw::testing
