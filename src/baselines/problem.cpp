#include "baselines/problem.hpp"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "base/checked.hpp"
#include "base/fork.hpp"
#include "base/math.hpp"
#include "baselines/refusal.hpp"
#include "seesaw/ops/dense_decode.h"

namespace seesaw::baselines {
namespace {

bool is_deepseek(seesaw_baseline_model model) {
  return model == SEESAW_BASELINE_DEEPSEEK_MLA_EXPANDED ||
         model == SEESAW_BASELINE_DEEPSEEK_MLA_ABSORBED;
}

Status check_range(const char* name, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) {
    return {};
  }
  return bad(fmt::format("{} = {}", name, value), fmt::format("{} to {}", low, high),
             fmt::format("Check the shape that {} comes from.", name));
}

// A product of sizes, in elements, that has to stay far inside 63 bits.
Status check_total(const char* name, std::initializer_list<int64_t> factors) {
  constexpr int64_t kMost = int64_t{1} << 56;
  int64_t total = 1;
  for (const int64_t factor : factors) {
    if (!checked_mul(total, factor, &total) || total > kMost) {
      return bad(fmt::format("{} = {} elements or more", name, kMost),
                 fmt::format("less than {}", kMost), "Check the problem's shape.");
    }
  }
  return {};
}

Status read_enums(const seesaw_baseline_problem& from, Problem* to) {
  if (seesaw_baselines_model_name(from.model) == nullptr) {
    return bad(fmt::format("model = {}", from.model),
               "1 to 5 (mha, traditional_mla, chunked_mla, deepseek_mla_expanded, "
               "deepseek_mla_absorbed)",
               "Set one of enum seesaw_baseline_model.");
  }
  to->model = static_cast<seesaw_baseline_model>(from.model);
  if (from.dtype != SEESAW_FLOAT32 && from.dtype != SEESAW_BFLOAT16 &&
      from.dtype != SEESAW_FLOAT16) {
    return bad_type(fmt::format("dtype = {}", from.dtype), "float32 (1), bfloat16 (2), float16 (3)",
                    "Convert x and the weights to one of these.");
  }
  to->dtype = static_cast<DType>(from.dtype);
  const bool cpu = from.device.type == SEESAW_CPU && from.device.index == 0;
  if (!cpu && (from.device.type != SEESAW_CUDA || from.device.index < 0)) {
    return bad(fmt::format("device type {}, index {}", from.device.type, from.device.index),
               "{SEESAW_CPU, 0} or {SEESAW_CUDA, ordinal}", "Set the device of the tensors.");
  }
  to->device = from.device;
  constexpr uint32_t kKnown =
      SEESAW_BASELINE_CAUSAL | SEESAW_BASELINE_BIAS | SEESAW_BASELINE_SKIP_UNUSED;
  if ((from.flags & ~kKnown) != 0) {
    return bad(fmt::format("flags = {:#x}", from.flags), fmt::format("bits of {:#x}", kKnown),
               "Clear the unknown bits, or use a newer library.");
  }
  to->causal = (from.flags & SEESAW_BASELINE_CAUSAL) != 0;
  to->bias = (from.flags & SEESAW_BASELINE_BIAS) != 0;
  to->skip_unused = (from.flags & SEESAW_BASELINE_SKIP_UNUSED) != 0;
  return {};
}

template <typename T>
T or_default(T value, T otherwise) {
  return value == T{} ? otherwise : value;
}

// A field that the model does not use stays 0, whatever the caller left in it.
void read_sizes(const seesaw_baseline_problem& from, Problem* to) {
  to->batch = from.batch;
  to->tokens = from.tokens;
  to->cache_capacity = from.cache_capacity;
  to->d_model = from.d_model;
  to->num_heads = from.num_heads;
  to->num_threads = to->device.type == SEESAW_CPU ? from.num_threads : 0;
  if (is_deepseek(to->model)) {
    to->d_latent = or_default<int64_t>(from.d_latent, 512);
    to->d_q_latent = from.d_q_latent;
    to->d_nope = or_default<int64_t>(from.d_nope, 128);
    to->d_rope = or_default<int64_t>(from.d_rope, 64);
    to->d_v = or_default<int64_t>(from.d_v, 128);
    to->rope.theta = or_default(from.rope_theta, 10000.0);
    to->norm_epsilon = or_default(from.norm_epsilon, 1e-6F);
    return;
  }
  to->head_dim = from.head_dim;
  if (from.head_dim == 0 && from.num_heads > 0 && from.d_model % from.num_heads == 0) {
    to->head_dim = from.d_model / from.num_heads;
  }
  if (to->model != SEESAW_BASELINE_MHA) {
    to->d_latent = or_default(from.d_latent, to->head_dim);
  }
  if (to->model == SEESAW_BASELINE_CHUNKED_MLA) {
    to->chunk_size = or_default<int64_t>(from.chunk_size, 1024);
  }
}

// Each chunk is two products that a plan remembers and a run launches.
Status check_chunks(const Problem& p) {
  constexpr int64_t kMostChunks = 65536;
  SEESAW_RETURN_IF_ERROR(check_range("chunk_size", p.chunk_size, 1, int64_t{1} << 40));
  const int64_t chunks = ceil_div(p.tokens, p.chunk_size);
  if (chunks > kMostChunks) {
    return bad(
        fmt::format("tokens = {} with chunk_size = {}, {} chunks", p.tokens, p.chunk_size, chunks),
        fmt::format("at most {} chunks", kMostChunks), "Set a larger chunk_size.");
  }
  return {};
}

Status check_model_sizes(const Problem& p) {
  constexpr int64_t kWidest = 1 << 20;
  if (is_deepseek(p.model)) {
    SEESAW_RETURN_IF_ERROR(check_range("d_q_latent", p.d_q_latent, 0, kWidest));
    SEESAW_RETURN_IF_ERROR(check_range("d_nope", p.d_nope, 1, kWidest));
    SEESAW_RETURN_IF_ERROR(check_range("d_rope", p.d_rope, 2, kWidest));
    SEESAW_RETURN_IF_ERROR(check_range("d_v", p.d_v, 1, kWidest));
    if (p.d_rope % 2 != 0) {
      return bad(fmt::format("d_rope = {}", p.d_rope), "an even number",
                 "Rotary columns come in pairs.");
    }
    if (!(p.rope.theta > 0.0) || !std::isfinite(p.rope.theta)) {
      return bad(fmt::format("rope_theta = {}", p.rope.theta), "a positive number",
                 "DeepSeek's is 10000.");
    }
    if (!(p.norm_epsilon > 0.0F) || !std::isfinite(p.norm_epsilon)) {
      return bad(fmt::format("norm_epsilon = {}", p.norm_epsilon), "a positive number",
                 "DeepSeek's is 1e-6.");
    }
  } else {
    if (p.head_dim == 0) {
      return bad(
          fmt::format("head_dim = 0 with d_model = {}, num_heads = {}", p.d_model, p.num_heads),
          "0 only if num_heads divides d_model", "Set head_dim.");
    }
    SEESAW_RETURN_IF_ERROR(check_range("head_dim", p.head_dim, 1, kWidest));
  }
  if (p.model == SEESAW_BASELINE_CHUNKED_MLA) {
    SEESAW_RETURN_IF_ERROR(check_chunks(p));
  }
  return p.model == SEESAW_BASELINE_MHA ? Status{}
                                        : check_range("d_latent", p.d_latent, 1, kWidest);
}

Status check_sizes(const Problem& p) {
  SEESAW_RETURN_IF_ERROR(check_range("batch", p.batch, 1, 1 << 30));
  SEESAW_RETURN_IF_ERROR(check_range("tokens", p.tokens, 1, 1 << 30));
  SEESAW_RETURN_IF_ERROR(check_range("d_model", p.d_model, 1, 1 << 20));
  SEESAW_RETURN_IF_ERROR(check_range("num_heads", p.num_heads, 1, 1 << 20));
  SEESAW_RETURN_IF_ERROR(check_range("num_threads", p.num_threads, 0, 4096));
  if (p.cache_capacity != 0) {
    SEESAW_RETURN_IF_ERROR(
        check_range("cache_capacity (0: no cache)", p.cache_capacity, p.tokens, 1 << 30));
  }
  SEESAW_RETURN_IF_ERROR(check_model_sizes(p));
  const int64_t keys = p.max_past() + p.tokens;
  const int64_t widest = p.heads_width() + p.d_qk() + p.d_v + 3 * p.d_latent + p.d_q_latent;
  SEESAW_RETURN_IF_ERROR(check_total("x", {p.batch, p.tokens, p.d_model}));
  SEESAW_RETURN_IF_ERROR(check_total("a parameter", {p.num_heads, widest, p.d_model + widest}));
  SEESAW_RETURN_IF_ERROR(check_total("scores", {p.batch, p.num_heads, p.tokens, keys}));
  return check_total("an intermediate tensor",
                     {p.batch, keys, std::max(p.num_heads, int64_t{2}), widest});
}

// How much YaRN sharpens the scores of a context `factor` times as long (arXiv:2309.00071, section
// 3.4), in the form that DeepSeek's models weigh with mscale.
double yarn_mscale(double factor, double mscale) {
  return factor <= 1.0 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

// The pair that turns `turns` times in the original context.
double pair_of_turns(const seesaw_baseline_problem& from, const Problem& p, double turns) {
  constexpr double kTwoPi = 6.283185307179586;
  return static_cast<double>(p.d_rope) *
         std::log(static_cast<double>(from.rope_original_positions) / (turns * kTwoPi)) /
         (2.0 * std::log(p.rope.theta));
}

Status check_positive(const char* name, double value) {
  if (value > 0.0 && std::isfinite(value)) {
    return {};
  }
  return bad(fmt::format("{} = {}", name, value), "a positive number",
             "Take it from the configuration's rope_scaling.");
}

// YaRN's ramp and amplitude from a configuration's numbers. Bounds are whole pairs, as in the
// models' own code.
Status read_yarn(const seesaw_baseline_problem& from, Problem* to) {
  if (!is_deepseek(to->model) || from.rope_factor == 0.0) {
    return {};
  }
  const double beta_fast = or_default(from.rope_beta_fast, 32.0);
  const double beta_slow = or_default(from.rope_beta_slow, 1.0);
  const double mscale = or_default(from.rope_mscale, 1.0);
  SEESAW_RETURN_IF_ERROR(check_positive("rope_factor", from.rope_factor));
  SEESAW_RETURN_IF_ERROR(check_positive("rope_beta_fast", beta_fast));
  SEESAW_RETURN_IF_ERROR(check_positive("rope_beta_slow", beta_slow));
  SEESAW_RETURN_IF_ERROR(check_positive("rope_mscale", mscale));
  SEESAW_RETURN_IF_ERROR(
      check_range("rope_original_positions", from.rope_original_positions, 1, 1 << 30));
  if (from.rope_mscale_all_dim != 0.0) {
    SEESAW_RETURN_IF_ERROR(check_positive("rope_mscale_all_dim", from.rope_mscale_all_dim));
  }
  if (!(to->rope.theta > 1.0)) {
    return bad(fmt::format("rope_theta = {} with YaRN", to->rope.theta), "more than 1",
               "DeepSeek's is 10000.");
  }
  const double last = static_cast<double>(to->d_rope - 1);
  to->rope.factor = from.rope_factor;
  to->rope.ramp_begin = std::max(std::floor(pair_of_turns(from, *to, beta_fast)), 0.0);
  to->rope.ramp_end = std::min(std::ceil(pair_of_turns(from, *to, beta_slow)), last);
  if (to->rope.ramp_begin == to->rope.ramp_end) {
    to->rope.ramp_end += 0.001;  // a step, as in the models' own code
  }
  if (to->rope.ramp_begin > to->rope.ramp_end) {
    return bad(fmt::format("rope_beta_fast = {} and rope_beta_slow = {}", beta_fast, beta_slow),
               "a fast one that is not less than the slow one",
               "Take both from the configuration's rope_scaling.");
  }
  to->rope.amplitude = yarn_mscale(from.rope_factor, mscale) /
                       yarn_mscale(from.rope_factor, from.rope_mscale_all_dim);
  return {};
}

float default_scale(const seesaw_baseline_problem& from, const Problem& p) {
  if (is_deepseek(p.model)) {
    return seesaw_mla_softmax_scale(p.d_nope, p.d_rope, from.rope_factor, from.rope_mscale_all_dim);
  }
  const int64_t d = p.model == SEESAW_BASELINE_MHA ? p.head_dim : p.d_latent;
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(d)));
}

// Collects a model's parameters.
class ParameterList {
 public:
  explicit ParameterList(bool with_biases) : with_biases_(with_biases) {}

  ParameterList& matrix(const char* name, int64_t outputs, int64_t inputs) {
    rows_.push_back({name, {outputs, inputs}, 2, 0});
    return *this;
  }
  ParameterList& vector(const char* name, int64_t size) {
    rows_.push_back({name, {size, 1}, 1, 0});
    return *this;
  }
  ParameterList& linear(const char* weight, const char* bias, int64_t outputs, int64_t inputs) {
    matrix(weight, outputs, inputs);
    return with_biases_ ? vector(bias, outputs) : *this;
  }
  std::vector<seesaw_baseline_parameter> take() { return std::move(rows_); }

 private:
  bool with_biases_;
  std::vector<seesaw_baseline_parameter> rows_;
};

void add_standard_projections(const Problem& p, ParameterList& list) {
  list.linear("q_proj.weight", "q_proj.bias", p.heads_width(), p.d_model)
      .linear("k_proj.weight", "k_proj.bias", p.heads_width(), p.d_model)
      .linear("v_proj.weight", "v_proj.bias", p.heads_width(), p.d_model);
}

void add_traditional(const Problem& p, ParameterList& list) {
  const int64_t width = p.heads_width();
  if (p.model == SEESAW_BASELINE_CHUNKED_MLA) {
    list.linear("combined_proj.weight", "combined_proj.bias", width + 3 * p.d_latent, p.d_model);
  } else {
    add_standard_projections(p, list);
    list.linear("q_latent_proj.weight", "q_latent_proj.bias", p.d_latent, width)
        .linear("k_latent_proj.weight", "k_latent_proj.bias", p.d_latent, width)
        .linear("v_latent_proj.weight", "v_latent_proj.bias", p.d_latent, width);
  }
  list.linear("head_reconstruction.weight", "head_reconstruction.bias", width, p.d_latent);
}

void add_deepseek(const Problem& p, ParameterList& list) {
  const int64_t q_width = p.num_heads * p.d_qk();
  if (p.d_q_latent == 0) {
    list.matrix("q_proj.weight", q_width, p.d_model);
  } else {
    list.linear("q_a_proj.weight", "q_a_proj.bias", p.d_q_latent, p.d_model)
        .vector("q_a_layernorm.weight", p.d_q_latent)
        .matrix("q_b_proj.weight", q_width, p.d_q_latent);
  }
  list.linear("kv_a_proj_with_mqa.weight", "kv_a_proj_with_mqa.bias", p.d_latent + p.d_rope,
              p.d_model)
      .vector("kv_a_layernorm.weight", p.d_latent)
      .matrix("kv_b_proj.weight", p.num_heads * (p.d_nope + p.d_v), p.d_latent)
      .linear("o_proj.weight", "o_proj.bias", p.d_model, p.num_heads * p.d_v);
}

}  // namespace

int64_t Problem::cache_width() const {
  if (is_deepseek(model)) {
    return d_latent + d_rope;
  }
  return model == SEESAW_BASELINE_MHA ? 2 * heads_width() : 2 * d_latent;
}

Status read_problem(const seesaw_baseline_problem* from, Problem* to) {
  seesaw_baseline_problem given;
  SEESAW_RETURN_IF_ERROR(read_sized(kWhere, "seesaw_baseline_problem", from, &given));
  SEESAW_RETURN_IF_ERROR(read_enums(given, to));
  read_sizes(given, to);
  SEESAW_RETURN_IF_ERROR(check_sizes(*to));
  SEESAW_RETURN_IF_ERROR(read_yarn(given, to));
  if (!std::isfinite(given.scale)) {
    return bad(fmt::format("scale = {}", given.scale), "a finite number, 0 for the default",
               "Set 0, or the scale of the model.");
  }
  to->scale = or_default(given.scale, default_scale(given, *to));
  to->num_threads = threads_here(or_default<int32_t>(to->num_threads, omp_get_max_threads()));
  return {};
}

std::vector<seesaw_baseline_parameter> parameters(const Problem& p) {
  ParameterList list(p.bias);
  if (is_deepseek(p.model)) {
    add_deepseek(p, list);
    return list.take();
  }
  if (p.model == SEESAW_BASELINE_MHA) {
    add_standard_projections(p, list);
  } else {
    add_traditional(p, list);
  }
  list.linear("out_proj.weight", "out_proj.bias", p.d_model, p.heads_width());
  return list.take();
}

View parameter_view(const seesaw_baseline_parameter& parameter, DType dtype, void* data) {
  const bool matrix = parameter.rank == 2;
  return packed(data, dtype,
                {1, 1, matrix ? parameter.shape[0] : 1, parameter.shape[matrix ? 1 : 0]});
}

}  // namespace seesaw::baselines
