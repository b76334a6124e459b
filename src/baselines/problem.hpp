// What a baseline computes, and what one call of it brings; the parameters of each model.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.hpp"
#include "baselines/rotary.hpp"
#include "baselines/view.hpp"
#include "seesaw/baselines.h"

namespace seesaw::baselines {

// Validated, with every default filled in. Fields as in seesaw_baseline_problem.
struct Problem {
  seesaw_device device{SEESAW_CPU, 0};
  seesaw_baseline_model model = SEESAW_BASELINE_MHA;
  DType dtype = DType::kFloat32;
  int64_t batch = 0;
  int64_t tokens = 0;
  int64_t cache_capacity = 0;
  int64_t d_model = 0;
  int64_t num_heads = 0;
  int64_t head_dim = 0;
  int64_t d_latent = 0;
  int64_t d_q_latent = 0;
  int64_t d_nope = 0;
  int64_t d_rope = 0;
  int64_t d_v = 0;
  int64_t chunk_size = 0;
  RotaryFrequencies rope{};
  float norm_epsilon = 0.0F;
  float scale = 0.0F;
  bool causal = false;
  bool bias = false;
  bool skip_unused = false;
  int32_t num_threads = 0;

  int64_t heads_width() const { return num_heads * head_dim; }
  int64_t d_qk() const { return d_nope + d_rope; }
  int64_t max_past() const { return cache_capacity == 0 ? 0 : cache_capacity - tokens; }
  int64_t cache_width() const;
};

// The views of one call. Weights are in the order of parameters(): vectors [1, 1, 1, n], matrices
// [1, 1, outputs, inputs].
struct Call {
  const Problem& problem;
  View x{};  // [B, 1, N, d_model]
  std::span<const View> weights{};
  View mask{};       // [B, H, N, S] (traditional MLA: [B, 1, N, S]) uint8; or absent
  View positions{};  // [B, 1, N, 1] int32; or absent
  View cache{};      // [B, 1, cache_capacity, cache_width]; absent if no capacity
  View out{};        // [B, 1, N, d_model]
  int64_t past = 0;  // P

  int64_t keys() const { return past + problem.tokens; }  // S
};

// Reads, completes and checks a caller's problem.
Status read_problem(const seesaw_baseline_problem* from, Problem* to);

// Names and shapes of the model's parameters, in the order of Call::weights.
std::vector<seesaw_baseline_parameter> parameters(const Problem& problem);

// A parameter's view as Call::weights holds it.
View parameter_view(const seesaw_baseline_parameter& parameter, DType dtype, void* data);

}  // namespace seesaw::baselines
