// Predicted operations and bytes against closed forms, and the table of parameters.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "seesaw/baselines.hpp"

namespace seesaw::testing {
namespace {

constexpr double kB = 2, kN = 64, kM = 96, kH = 4, kD = 24;  // H D = d_model

BaselineDescriptor layer(seesaw_baseline_model model) {
  BaselineDescriptor d{.model = model, .batch = 2, .tokens = 64};
  d.d_model = 96;
  d.num_heads = 4;
  return d;
}

// One product of all tokens with a weight.
double product(double inputs, double outputs) { return 2 * kB * kN * inputs * outputs; }

TEST(Cost, MultiHeadAttention) {
  const seesaw_baseline_cost got = cost(layer(SEESAW_BASELINE_MHA));
  EXPECT_EQ(got.projection_operations, 4 * product(kM, kM));
  EXPECT_EQ(got.attention_operations, 2 * 2 * kB * kH * kN * kN * kD);
  EXPECT_EQ(got.parameter_count, 4u * 96 * 96);
  EXPECT_EQ(got.weight_bytes, 4u * 96 * 96 * 4);
  EXPECT_EQ(got.cache_bytes_per_token, 2u * 96 * 4);
  EXPECT_EQ(got.score_bytes, 2u * 4 * 64 * 64 * 4);  // in place
  // x, weight and result of a projection; Q, K, scores, then scores and probabilities, then P, V,
  // O.
  EXPECT_EQ(got.projection_bytes, 4 * 4 * (2 * kB * kN * kM + kM * kM));
  EXPECT_EQ(got.attention_bytes, 4 * (4 * kB * kN * kM + 4 * kB * kH * kN * kN));
}

TEST(Cost, TraditionalMla) {
  BaselineDescriptor d = layer(SEESAW_BASELINE_TRADITIONAL_MLA);
  d.d_latent = 16;
  const seesaw_baseline_cost got = cost(d);
  EXPECT_EQ(got.projection_operations, 4 * product(kM, kM) + 4 * product(kM, 16));
  EXPECT_EQ(got.attention_operations, 2 * 2 * kB * kN * kN * 16);  // one pattern for all heads
  EXPECT_EQ(got.cache_bytes_per_token, 2u * 16 * 4);
  EXPECT_EQ(got.score_bytes, 2u * 64 * 64 * 4);
}

TEST(Cost, ChunkedMla) {
  BaselineDescriptor d = layer(SEESAW_BASELINE_CHUNKED_MLA);
  d.d_latent = 16;
  d.chunk_size = 24;
  const seesaw_baseline_cost got = cost(d);
  EXPECT_EQ(got.projection_operations,
            product(kM, kM + 3 * 16) + product(16, kM) + product(kM, kM));
  EXPECT_EQ(got.attention_operations, 2 * 2 * kB * kN * kN * 16);
  EXPECT_EQ(got.score_bytes, 2u * 24 * 64 * 4);
  d.flags = SEESAW_BASELINE_SKIP_UNUSED;
  EXPECT_EQ(cost(d).projection_operations, product(kM, 3 * 16) + product(16, kM) + product(kM, kM));
}

// DeepSeek-V2's sizes, one token after `past` others: what absorption saves and what it costs.
TEST(Cost, DeepSeekDecoding) {
  BaselineDescriptor d{.model = SEESAW_BASELINE_DEEPSEEK_MLA_EXPANDED, .dtype = SEESAW_BFLOAT16};
  d.cache_capacity = 1024;
  d.d_model = 5120;
  d.num_heads = 128;
  d.d_q_latent = 1536;
  const double keys = 1024;
  const double shared = 2.0 * (5120 * 1536 + 1536 * 128 * 192 + 5120 * 576 + 128 * 128 * 5120);
  const seesaw_baseline_cost expanded = cost(d, 1023);
  EXPECT_EQ(expanded.projection_operations, shared + 2 * keys * 512 * 128 * 256);
  EXPECT_EQ(expanded.attention_operations, 2 * 128 * keys * (192 + 128));
  EXPECT_EQ(expanded.cache_bytes_per_token, 1152u);
  EXPECT_EQ(expanded.score_bytes, 128u * 1024 * (4 + 2));

  d.model = SEESAW_BASELINE_DEEPSEEK_MLA_ABSORBED;
  const seesaw_baseline_cost absorbed = cost(d, 1023);
  EXPECT_EQ(absorbed.projection_operations, shared + 2.0 * 128 * 128 * 512 * 2);
  EXPECT_EQ(absorbed.attention_operations, 2 * 128 * keys * (576 + 512));
  EXPECT_EQ(absorbed.parameter_count, expanded.parameter_count);
  EXPECT_LT(absorbed.intermediate_bytes, expanded.intermediate_bytes);
  EXPECT_LT(cost(d, 0).attention_operations, absorbed.attention_operations);
}

TEST(Cost, IsOfAnyDeviceAndNeedsNone) {
  BaselineDescriptor d = layer(SEESAW_BASELINE_MHA);
  const seesaw_baseline_cost on_cpu = cost(d);
  d.device = {SEESAW_CUDA, 7};
  EXPECT_EQ(cost(d).attention_operations, on_cpu.attention_operations);
}

// Sets every field that the model does not use.
void set_unused(BaselineDescriptor& d, int64_t value) {
  const bool deepseek = d.model == SEESAW_BASELINE_DEEPSEEK_MLA_EXPANDED ||
                        d.model == SEESAW_BASELINE_DEEPSEEK_MLA_ABSORBED;
  if (deepseek) {
    d.head_dim = value;
  } else {
    d.d_q_latent = d.d_nope = d.d_rope = d.d_v = value;
    d.rope_theta = static_cast<double>(value);
    d.norm_epsilon = static_cast<float>(value);
  }
  if (d.model == SEESAW_BASELINE_MHA) {
    d.d_latent = value;
  }
  if (d.model != SEESAW_BASELINE_CHUNKED_MLA) {
    d.chunk_size = value;
  }
  if (d.device.type == SEESAW_CUDA) {
    d.num_threads = static_cast<int32_t>(std::min<int64_t>(value, INT32_MAX));
  }
}

TEST(Cost, IgnoresFieldsThatTheModelDoesNotUse) {
  for (const seesaw_baseline_model model :
       {SEESAW_BASELINE_MHA, SEESAW_BASELINE_TRADITIONAL_MLA, SEESAW_BASELINE_CHUNKED_MLA,
        SEESAW_BASELINE_DEEPSEEK_MLA_EXPANDED, SEESAW_BASELINE_DEEPSEEK_MLA_ABSORBED}) {
    for (const seesaw_device device : {seesaw_device{SEESAW_CPU, 0}, {SEESAW_CUDA, 0}}) {
      BaselineDescriptor d = layer(model);
      d.device = device;
      const seesaw_baseline_cost expected = cost(d);
      for (const int64_t unused : {int64_t{-1}, int64_t{1} << 62}) {
        SCOPED_TRACE(std::to_string(model) + " " + std::to_string(unused));
        set_unused(d, unused);
        seesaw_baseline_cost got{};
        ASSERT_NO_THROW(got = cost(d));
        EXPECT_EQ(std::memcmp(&got, &expected, sizeof(got)), 0);
      }
    }
  }
}

// Whatever is let through has bytes that fit 63 bits.
TEST(Cost, OfTheLargestLayersDoesNotWrap) {
  BaselineDescriptor d{.model = SEESAW_BASELINE_MHA, .batch = 1 << 30, .tokens = 1 << 13};
  d.head_dim = 1;
  d.d_model = 1 << 20;
  EXPECT_THROW(cost(d), Error);
  d.d_model = 1 << 13;  // x has 2^56 elements, and so have the scores
  const seesaw_baseline_cost got = cost(d);
  EXPECT_EQ(got.score_bytes, uint64_t{1} << 58);
  EXPECT_EQ(got.projection_operations, 4 * 0x1p57);
  EXPECT_GE(got.projection_bytes, 4 * 0x1p58);
}

std::vector<std::string> names_of(const BaselineDescriptor& d) {
  std::vector<std::string> names;
  for (const seesaw_baseline_parameter& parameter : parameters(d)) {
    names.push_back(std::string(parameter.name) + " " + std::to_string(parameter.shape[0]) +
                    (parameter.rank == 2 ? "x" + std::to_string(parameter.shape[1]) : ""));
  }
  return names;
}

// The names and shapes that checkpoints of DeepSeek-V2 have.
TEST(Parameters, DeepSeek) {
  BaselineDescriptor d{.model = SEESAW_BASELINE_DEEPSEEK_MLA_ABSORBED};
  d.d_model = 5120;
  d.num_heads = 128;
  d.d_q_latent = 1536;
  EXPECT_EQ(names_of(d), (std::vector<std::string>{
                             "q_a_proj.weight 1536x5120", "q_a_layernorm.weight 1536",
                             "q_b_proj.weight 24576x1536", "kv_a_proj_with_mqa.weight 576x5120",
                             "kv_a_layernorm.weight 512", "kv_b_proj.weight 32768x512",
                             "o_proj.weight 5120x16384"}));
  d.d_q_latent = 0;
  d.flags = SEESAW_BASELINE_BIAS;
  EXPECT_EQ(names_of(d),
            (std::vector<std::string>{
                "q_proj.weight 24576x5120", "kv_a_proj_with_mqa.weight 576x5120",
                "kv_a_proj_with_mqa.bias 576", "kv_a_layernorm.weight 512",
                "kv_b_proj.weight 32768x512", "o_proj.weight 5120x16384", "o_proj.bias 5120"}));
}

TEST(Parameters, TraditionalMla) {
  BaselineDescriptor d = layer(SEESAW_BASELINE_TRADITIONAL_MLA);
  EXPECT_EQ(names_of(d), (std::vector<std::string>{
                             "q_proj.weight 96x96", "k_proj.weight 96x96", "v_proj.weight 96x96",
                             "q_latent_proj.weight 24x96", "k_latent_proj.weight 24x96",
                             "v_latent_proj.weight 24x96", "head_reconstruction.weight 96x24",
                             "out_proj.weight 96x96"}));
  d.model = SEESAW_BASELINE_CHUNKED_MLA;
  d.flags = SEESAW_BASELINE_BIAS;
  EXPECT_EQ(names_of(d), (std::vector<std::string>{
                             "combined_proj.weight 168x96", "combined_proj.bias 168",
                             "head_reconstruction.weight 96x24", "head_reconstruction.bias 96",
                             "out_proj.weight 96x96", "out_proj.bias 96"}));
}

}  // namespace
}  // namespace seesaw::testing
