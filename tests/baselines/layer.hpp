// A layer with random parameters, run by the library in guarded memory and by the reference.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "baselines/reference.hpp"
#include "seesaw/baselines.hpp"

namespace seesaw::testing {

// Numbers rounded to a dtype, held exactly.
std::vector<double> rounded(seesaw_dtype dtype, std::vector<double> values);

// Random numbers, the same for the same name.
std::vector<double> random_values(const std::string& name, int64_t count, double deviation);

// A tensor of a call, as the test writes it.
struct Array {
  std::vector<int64_t> shape;
  std::vector<double> values;
};

using Mask = std::function<bool(int64_t b, int64_t h, int64_t i, int64_t s)>;

struct LayerCall {
  Array x;  // [B, N, d_model]
  int64_t past = 0;
  Mask mask = nullptr;                  // of heads [0, H), or of the one pattern there is
  bool mask_of_each_head = false;       // the mask tensor has H heads, instead of 1
  std::vector<int32_t> positions = {};  // [B, N]; empty: none given
};

class Layer {
 public:
  // Weights are drawn by name, so that layers share those that they share.
  explicit Layer(BaselineDescriptor descriptor);

  const BaselineDescriptor& descriptor() const { return descriptor_; }
  const Baseline& plan() const { return plan_; }
  Array& weight(const std::string& name);

  // [B, N, d_model] by the library. Checks guard bands, that every element was written, and that
  // the cache changed nowhere but in the new tokens' rows.
  Array run(const LayerCall& call);

  // The cache's bytes: before the first run poison, then what the last run left.
  std::vector<unsigned char>& cache() { return cache_; }

  // The same of a call whose x holds past and new tokens, [B, P + N, d_model].
  Array reference(const LayerCall& call, const Array& all_tokens) const;

  static Array random_x(const BaselineDescriptor& descriptor, int64_t tokens);

 private:
  bool sees(const LayerCall& call, int64_t b, int64_t h, int64_t i, int64_t s) const;

  BaselineDescriptor descriptor_;  // every default filled in
  Baseline plan_;
  std::vector<seesaw_baseline_parameter> parameters_;
  std::vector<Array> weights_;
  std::vector<unsigned char> cache_;
};

// Tokens [begin, end) of an x.
Array tokens_of(const Array& x, int64_t begin, int64_t end);

// The greatest difference, and the root of the mean square of the differences over that of `want`.
struct Difference {
  double greatest = 0.0;
  double relative = 0.0;
};
Difference difference(const Array& got, const Array& want);

}  // namespace seesaw::testing
