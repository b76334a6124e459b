// A layer of random parameters, and what it has to give: its equations in double, token by token
// and head by head. Shares no code with the library.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "seesaw/layers.hpp"

namespace seesaw::testing {

using Row = std::vector<double>;
using Rows = std::vector<Row>;  // tokens of one sequence

struct Yarn {
  double factor = 4.0;
  int64_t positions = 32;
  double beta_fast = 32.0;
  double beta_slow = 1.0;
  double mscale = 0.9;
  double mscale_all_dim = 0.5;
};

struct Sizes {
  int64_t d_model = 40;
  int64_t heads = 3;
  int64_t d_q_latent = 20;  // 0: q_proj alone, as DeepSeek-V2-Lite has it
  int64_t d_latent = 32;
  int64_t d_nope = 12;
  int64_t d_rope = 8;
  int64_t d_v = 10;
  bool has_yarn = false;
  bool interleaved = true;
  bool bias = false;
  Yarn yarn = {};
};

// A tensor in some dtype: the numbers, and their bytes.
struct Parameter {
  std::vector<int64_t> shape;
  std::vector<double> values;
  std::vector<unsigned char> bytes;
  seesaw_dtype dtype = SEESAW_FLOAT32;
};
Parameter parameter_of(std::vector<int64_t> shape, std::vector<double> values, seesaw_dtype dtype);

// Numbers of a dtype, near 0 with this deviation; the same for the same name.
std::vector<double> random_numbers(const std::string& name, int64_t count, double deviation);

seesaw_tensor tensor_of(const Parameter& parameter);
std::vector<double> numbers_of(const void* data, seesaw_dtype dtype, int64_t count);

class Model {
 public:
  Model(const Sizes& sizes, seesaw_dtype dtype);

  const Sizes& sizes() const { return sizes_; }
  std::string config() const;  // of a config.json
  std::vector<seesaw_named_tensor> tensors() const;
  std::map<std::string, Parameter>& parameters() { return parameters_; }
  layers::DeepSeekMLA layer(const seesaw_mla_layer_options& options = {}) const {
    return {config(), tensors(), options};
  }

  // Outputs of all tokens of a sequence. cached: what the cache holds of them, [d_latent + d_rope]
  // each, in place of what the layer computes.
  Rows reference(const Rows& x, const Rows* cached = nullptr) const;

 private:
  Rows linear(const Rows& x, const std::string& name) const;
  Rows norm(const Rows& x, const std::string& name) const;
  Row rotated(const Row& x, int64_t begin, int64_t position) const;
  double frequency(int64_t pair) const;

  Sizes sizes_;
  std::map<std::string, Parameter> parameters_;
};

}  // namespace seesaw::testing
