// What must be equal without any reference: forms of one layer, chunk sizes, repeated calls.
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "baselines/layer.hpp"

namespace seesaw::testing {
namespace {

constexpr double kFloat32Roundings = 2e-6;

BaselineDescriptor deepseek(seesaw_baseline_model model, seesaw_dtype dtype = SEESAW_FLOAT32) {
  BaselineDescriptor d{.model = model, .dtype = dtype, .batch = 2, .tokens = 7};
  d.d_model = 48;
  d.num_heads = 3;
  d.d_latent = 32;
  d.d_nope = 16;
  d.d_rope = 8;
  d.d_v = 24;
  d.flags = SEESAW_BASELINE_CAUSAL;
  d.num_threads = 2;
  return d;
}

BaselineDescriptor latent(seesaw_baseline_model model) {
  BaselineDescriptor d{.model = model, .batch = 2, .tokens = 13};
  d.d_model = 24;
  d.num_heads = 3;
  d.d_latent = 10;
  d.flags = SEESAW_BASELINE_CAUSAL | SEESAW_BASELINE_BIAS;
  d.num_threads = 2;
  return d;
}

// Absorption is the same sum in another order.
TEST(Identities, AbsorbedIsExpanded) {
  for (const int64_t d_q_latent : {0, 20}) {
    BaselineDescriptor d = deepseek(SEESAW_BASELINE_DEEPSEEK_MLA_EXPANDED);
    d.d_q_latent = d_q_latent;
    d.cache_capacity = d.tokens;
    Layer expanded(d);
    d.model = SEESAW_BASELINE_DEEPSEEK_MLA_ABSORBED;
    Layer absorbed(d);
    const LayerCall call{.x = Layer::random_x(d, d.tokens)};
    EXPECT_LT(difference(absorbed.run(call), expanded.run(call)).relative, kFloat32Roundings);
    EXPECT_EQ(absorbed.cache(), expanded.cache());
  }
}

TEST(Identities, AbsorbedIsExpandedAtDeepSeeksSizes) {
  BaselineDescriptor d{.model = SEESAW_BASELINE_DEEPSEEK_MLA_EXPANDED, .batch = 1, .tokens = 17};
  d.d_model = 256;
  d.num_heads = 8;  // d_latent 512, d_nope 128, d_rope 64, d_v 128
  d.flags = SEESAW_BASELINE_CAUSAL;
  d.num_threads = 2;
  for (const auto& [dtype, bound] :
       {std::pair{SEESAW_FLOAT32, kFloat32Roundings}, std::pair{SEESAW_BFLOAT16, 0.02},
        std::pair{SEESAW_FLOAT16, 0.0025}}) {
    d.dtype = dtype;
    d.model = SEESAW_BASELINE_DEEPSEEK_MLA_EXPANDED;
    Layer expanded(d);
    d.model = SEESAW_BASELINE_DEEPSEEK_MLA_ABSORBED;
    Layer absorbed(d);
    const LayerCall call{.x = Layer::random_x(d, d.tokens)};
    EXPECT_LT(difference(absorbed.run(call), expanded.run(call)).relative, bound);
  }
}

// One cache serves both forms: prompts expanded, then tokens absorbed.
TEST(Identities, ExpandedPrefillThenAbsorbedDecoding) {
  BaselineDescriptor whole = deepseek(SEESAW_BASELINE_DEEPSEEK_MLA_EXPANDED);
  const Array all = Layer::random_x(whole, whole.tokens);
  const Array want = Layer(whole).run({.x = all});

  BaselineDescriptor prompt = whole;
  prompt.tokens = 5;
  prompt.cache_capacity = 7;
  BaselineDescriptor step = deepseek(SEESAW_BASELINE_DEEPSEEK_MLA_ABSORBED);
  step.tokens = 1;
  step.cache_capacity = 7;
  Layer expanded(prompt);
  Layer absorbed(step);
  EXPECT_LT(difference(expanded.run({.x = tokens_of(all, 0, 5)}), tokens_of(want, 0, 5)).relative,
            kFloat32Roundings);
  absorbed.cache() = expanded.cache();
  for (const int64_t past : {5, 6}) {
    const Array got = absorbed.run({.x = tokens_of(all, past, past + 1), .past = past});
    EXPECT_LT(difference(got, tokens_of(want, past, past + 1)).relative, kFloat32Roundings);
  }
}

TEST(Identities, ChunkSizeChangesOnlyMemory) {
  BaselineDescriptor d = latent(SEESAW_BASELINE_CHUNKED_MLA);
  d.chunk_size = d.tokens;
  LayerCall call{.x = Layer::random_x(d, d.tokens)};
  call.mask = [](int64_t b, int64_t, int64_t i, int64_t s) { return (i * 5 + s + b) % 3 != 0; };
  const Array whole = Layer(d).run(call);
  const uint64_t whole_scores = cost(d).score_bytes;
  for (const int64_t chunk_size : {1, 4, 6, 1000}) {
    d.chunk_size = chunk_size;
    EXPECT_LT(difference(Layer(d).run(call), whole).relative, kFloat32Roundings) << chunk_size;
    const int64_t rows = std::min(chunk_size, d.tokens);
    EXPECT_EQ(cost(d).score_bytes * static_cast<uint64_t>(d.tokens),
              whole_scores * static_cast<uint64_t>(rows));
  }
}

TEST(Identities, SkippingTheUnusedQueryChangesNothing) {
  BaselineDescriptor d = latent(SEESAW_BASELINE_CHUNKED_MLA);
  const LayerCall call{.x = Layer::random_x(d, d.tokens)};
  Layer whole(d);
  d.flags |= SEESAW_BASELINE_SKIP_UNUSED;
  Layer without(d);
  EXPECT_LT(difference(without.run(call), whole.run(call)).relative, kFloat32Roundings);
  EXPECT_LT(cost(d).projection_operations, cost(whole.descriptor()).projection_operations);
}

// rows of `product` = a b, biases through: y = a (b x + c) + d.
void multiply(const Array& a, const Array& b, double* product) {
  const int64_t columns = b.shape[1];
  for (int64_t i = 0; i < a.shape[0]; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      double sum = 0.0;
      for (int64_t k = 0; k < b.shape[0]; ++k) {
        sum += a.values[static_cast<size_t>(i * b.shape[0] + k)] *
               b.values[static_cast<size_t>(k * columns + j)];
      }
      product[i * columns + j] = sum;
    }
  }
}

// Two projections in a row are one: the chunked form with the products as its combined projection
// is the plain form.
TEST(Identities, ChunkedIsTraditionalWithItsProjectionsMultiplied) {
  BaselineDescriptor d = latent(SEESAW_BASELINE_TRADITIONAL_MLA);
  Layer traditional(d);
  const LayerCall call{.x = Layer::random_x(d, d.tokens)};
  const Array want = traditional.run(call);

  d.model = SEESAW_BASELINE_CHUNKED_MLA;
  d.chunk_size = 5;
  Layer chunked(d);
  Array& weight = chunked.weight("combined_proj.weight");
  Array& bias = chunked.weight("combined_proj.bias");
  const char* names[] = {"q", "k", "v"};
  for (int64_t i = 0; i < 3; ++i) {
    const std::string name = names[i];
    const int64_t row = d.d_model + i * d.d_latent;  // after the unused query
    const Array& latent_weight = traditional.weight(name + "_latent_proj.weight");
    multiply(latent_weight, traditional.weight(name + "_proj.weight"),
             weight.values.data() + row * d.d_model);
    Array bias_column = traditional.weight(name + "_proj.bias");
    bias_column.shape = {bias_column.shape[0], 1};
    multiply(latent_weight, bias_column, bias.values.data() + row);
    for (int64_t j = 0; j < d.d_latent; ++j) {
      bias.values[static_cast<size_t>(row + j)] +=
          traditional.weight(name + "_latent_proj.bias").values[static_cast<size_t>(j)];
    }
  }
  weight.values = rounded(d.dtype, weight.values);
  bias.values = rounded(d.dtype, bias.values);
  EXPECT_LT(difference(chunked.run(call), want).relative, kFloat32Roundings);
}

TEST(Identities, ARowThatSeesNothingIsTheBias) {
  BaselineDescriptor d = latent(SEESAW_BASELINE_MHA);
  for (const seesaw_dtype dtype : {SEESAW_FLOAT32, SEESAW_BFLOAT16, SEESAW_FLOAT16}) {
    d.dtype = dtype;
    Layer layer(d);
    LayerCall call{.x = Layer::random_x(d, d.tokens)};
    call.mask = [](int64_t, int64_t, int64_t i, int64_t) { return i != 4; };
    const Array row = tokens_of(layer.run(call), 4, 5);
    for (int64_t i = 0; i < d.batch * d.d_model; ++i) {
      EXPECT_EQ(row.values[static_cast<size_t>(i)],
                layer.weight("out_proj.bias").values[static_cast<size_t>(i % d.d_model)]);
    }
  }
}

TEST(Identities, ANanReachesItsOwnSequenceOnly) {
  for (const auto model : {SEESAW_BASELINE_MHA, SEESAW_BASELINE_CHUNKED_MLA}) {
    BaselineDescriptor d = latent(model);
    Layer layer(d);
    LayerCall call{.x = Layer::random_x(d, d.tokens)};
    const Array clean = layer.run(call);
    call.x.values.front() = std::nan("");  // sequence 0, token 0, which all its tokens see
    const Array got = layer.run(call);
    const size_t half = got.values.size() / 2;
    for (size_t i = 0; i < half; ++i) {
      EXPECT_TRUE(std::isnan(got.values[i]));
      EXPECT_EQ(got.values[half + i], clean.values[half + i]);
    }
  }
}

TEST(Identities, SameInputsSameBits) {
  for (const seesaw_dtype dtype : {SEESAW_FLOAT32, SEESAW_BFLOAT16, SEESAW_FLOAT16}) {
    const BaselineDescriptor d = deepseek(SEESAW_BASELINE_DEEPSEEK_MLA_EXPANDED, dtype);
    Layer layer(d);
    const LayerCall call{.x = Layer::random_x(d, d.tokens)};
    const Array first = layer.run(call);
    EXPECT_EQ(layer.run(call).values, first.values);
  }
}

// One plan, several threads, each with memory of its own.
TEST(Identities, OnePlanServesSeveralThreads) {
  const BaselineDescriptor d = deepseek(SEESAW_BASELINE_DEEPSEEK_MLA_ABSORBED, SEESAW_BFLOAT16);
  Layer layer(d);
  const LayerCall call{.x = Layer::random_x(d, d.tokens)};
  const Array want = layer.run(call);
  std::vector<std::thread> threads;
  std::atomic<int> equal = 0;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      for (int repeat = 0; repeat < 3; ++repeat) {
        equal += layer.run(call).values == want.values ? 1 : 0;
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(equal, 9);
}

}  // namespace
}  // namespace seesaw::testing
