// Every layer against the double-precision reference: dtypes, masks, biases, caches, positions.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "baselines/layer.hpp"

namespace seesaw::testing {
namespace {

constexpr seesaw_baseline_model kModels[] = {
    SEESAW_BASELINE_MHA, SEESAW_BASELINE_TRADITIONAL_MLA, SEESAW_BASELINE_CHUNKED_MLA,
    SEESAW_BASELINE_DEEPSEEK_MLA_EXPANDED, SEESAW_BASELINE_DEEPSEEK_MLA_ABSORBED};

bool has_one_pattern(seesaw_baseline_model model) {
  return model == SEESAW_BASELINE_TRADITIONAL_MLA || model == SEESAW_BASELINE_CHUNKED_MLA;
}

// Odd sizes everywhere.
BaselineDescriptor odd_layer(seesaw_baseline_model model, seesaw_dtype dtype) {
  BaselineDescriptor d{.model = model, .dtype = dtype, .batch = 3, .tokens = 11};
  d.d_model = 35;
  d.num_heads = 5;
  d.chunk_size = 4;
  d.num_threads = 2;
  if (model == SEESAW_BASELINE_DEEPSEEK_MLA_EXPANDED ||
      model == SEESAW_BASELINE_DEEPSEEK_MLA_ABSORBED) {
    d.d_latent = 19;
    d.d_q_latent = 13;
    d.d_nope = 9;
    d.d_rope = 6;
    d.d_v = 7;
  } else {
    d.d_latent = 9;
  }
  return d;
}

// Of values of size 1: what the roundings of a dtype, on the way through a layer, come to.
Difference allowed(seesaw_dtype dtype) {
  return dtype == SEESAW_FLOAT32    ? Difference{4e-6, 1.5e-6}
         : dtype == SEESAW_BFLOAT16 ? Difference{0.03, 0.015}
                                    : Difference{0.004, 0.002};
}

void expect_close(const Array& got, const Array& want, Difference bound) {
  const auto size =
      std::max_element(want.values.begin(), want.values.end(),
                       [](double a, double b) { return std::fabs(a) < std::fabs(b); });
  const Difference error = difference(got, want);
  EXPECT_LE(error.greatest, bound.greatest * std::max(1.0, std::fabs(*size)));
  EXPECT_LE(error.relative, bound.relative);
}

class Accuracy : public ::testing::TestWithParam<std::tuple<seesaw_baseline_model, seesaw_dtype>> {
 protected:
  seesaw_baseline_model model() const { return std::get<0>(GetParam()); }
  seesaw_dtype dtype() const { return std::get<1>(GetParam()); }

  void check(const BaselineDescriptor& descriptor, const LayerCall& call) {
    Layer layer(descriptor);
    expect_close(layer.run(call), layer.reference(call, call.x), allowed(dtype()));
  }
};

TEST_P(Accuracy, WithoutMask) {
  const BaselineDescriptor d = odd_layer(model(), dtype());
  check(d, {.x = Layer::random_x(d, d.tokens)});
}

TEST_P(Accuracy, CausalWithBiases) {
  BaselineDescriptor d = odd_layer(model(), dtype());
  d.flags = SEESAW_BASELINE_CAUSAL | SEESAW_BASELINE_BIAS;
  check(d, {.x = Layer::random_x(d, d.tokens)});
}

// Rows that see nothing among them: what is left of them is what the biases give.
TEST_P(Accuracy, MaskOfEachHeadAndSequence) {
  BaselineDescriptor d = odd_layer(model(), dtype());
  d.flags = SEESAW_BASELINE_BIAS;
  LayerCall call{.x = Layer::random_x(d, d.tokens)};
  call.mask_of_each_head = !has_one_pattern(model());
  call.mask = [](int64_t b, int64_t h, int64_t i, int64_t s) {
    return i != 2 && (i + b != 6 || h == 1) && (i * 7 + s * 3 + h * 5 + b) % 4 != 0;
  };
  check(d, call);
}

TEST_P(Accuracy, MaskJoinsCausality) {
  BaselineDescriptor d = odd_layer(model(), dtype());
  d.flags = SEESAW_BASELINE_CAUSAL;
  LayerCall call{.x = Layer::random_x(d, d.tokens)};
  call.mask = [](int64_t b, int64_t, int64_t i, int64_t s) { return (i + s + b) % 3 != 1; };
  check(d, call);
}

TEST_P(Accuracy, GivenPositionsScaleAndEpsilon) {
  BaselineDescriptor d = odd_layer(model(), dtype());
  d.scale = 0.7F;
  d.rope_theta = 500.0;
  d.norm_epsilon = 0.5F;
  LayerCall call{.x = Layer::random_x(d, d.tokens)};
  for (int32_t i = 0; i < d.batch * d.tokens; ++i) {
    call.positions.push_back(1000 * (i % 3) + 7 * i);
  }
  check(d, call);
}

TEST_P(Accuracy, OneTokenOneHead) {
  BaselineDescriptor d = odd_layer(model(), dtype());
  d.batch = 1;
  d.tokens = 1;
  d.num_heads = 1;
  check(d, {.x = Layer::random_x(d, 1)});
}

// Calls of one plan at several lengths, from an empty cache to a full one, then over it again.
TEST_P(Accuracy, StepsThroughACache) {
  BaselineDescriptor d = odd_layer(model(), dtype());
  d.flags = SEESAW_BASELINE_CAUSAL | SEESAW_BASELINE_BIAS;
  d.tokens = 2;
  d.cache_capacity = 8;
  const Array all = Layer::random_x(d, d.cache_capacity);
  Layer layer(d);
  EXPECT_EQ(layer.plan().info().max_past_tokens, 6);
  for (const int64_t past : {0, 2, 4, 6, 3}) {
    const LayerCall call{.x = tokens_of(all, past, past + 2), .past = past};
    expect_close(layer.run(call), layer.reference(call, tokens_of(all, 0, past + 2)),
                 allowed(dtype()));
  }
}

TEST_P(Accuracy, OneTokenAtATimeFromAnEmptyCache) {
  BaselineDescriptor d = odd_layer(model(), dtype());
  d.tokens = 1;
  d.cache_capacity = 4;
  const Array all = Layer::random_x(d, d.cache_capacity);
  Layer layer(d);
  for (int64_t past = 0; past < d.cache_capacity; ++past) {
    const LayerCall call{.x = tokens_of(all, past, past + 1), .past = past};
    expect_close(layer.run(call), layer.reference(call, tokens_of(all, 0, past + 1)),
                 allowed(dtype()));
  }
}

// A cache with a mask, as for sequences of different lengths padded on the left.
TEST_P(Accuracy, MaskOverACache) {
  BaselineDescriptor d = odd_layer(model(), dtype());
  d.tokens = 3;
  d.cache_capacity = 7;
  const Array all = Layer::random_x(d, 6);
  Layer layer(d);
  LayerCall first{.x = tokens_of(all, 0, 3)};
  LayerCall second{.x = tokens_of(all, 3, 6), .past = 3};
  const Mask padded = [](int64_t b, int64_t, int64_t, int64_t s) { return s >= b; };
  first.mask = padded;
  second.mask = padded;
  layer.run(first);
  expect_close(layer.run(second), layer.reference(second, all), allowed(dtype()));
}

INSTANTIATE_TEST_SUITE_P(
    , Accuracy,
    ::testing::Combine(::testing::ValuesIn(kModels),
                       ::testing::Values(SEESAW_FLOAT32, SEESAW_BFLOAT16, SEESAW_FLOAT16)),
    [](const auto& instance) {
      const seesaw_dtype dtype = std::get<1>(instance.param);
      return std::string(seesaw_baselines_model_name(std::get<0>(instance.param))) +
             (dtype == SEESAW_FLOAT32    ? "_float32"
              : dtype == SEESAW_BFLOAT16 ? "_bfloat16"
                                         : "_float16");
    });

}  // namespace
}  // namespace seesaw::testing
