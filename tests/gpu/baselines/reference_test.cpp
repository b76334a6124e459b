// Every model on the GPU against the equations in double, which share no code with the library:
// prefilled at once, and a token at a time through the cache.
#include "baselines/reference.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "model_run.hpp"

namespace seesaw::baselines::gpu_test {
namespace {

using seesaw::testing::ReferenceCall;
using seesaw::testing::Rows;

// Root mean square error over root mean square, as docs/baselines.md has it.
double bound_of(DType dtype) {
  switch (dtype) {
    case DType::kBFloat16:
      return 0.015;
    case DType::kFloat16:
      return 0.002;
    default:
      return 1.5e-6;
  }
}

// Rows [begin, begin + count) of `width` numbers.
Rows rows_of(const std::vector<double>& values, int64_t begin, int64_t count, int64_t width) {
  Rows rows;
  for (int64_t i = begin; i < begin + count; ++i) {
    rows.emplace_back(values.begin() + i * width, values.begin() + (i + 1) * width);
  }
  return rows;
}

ReferenceCall reference_of(const ModelRun& run) {
  const Problem& p = run.problem();
  ReferenceCall call;
  call.layer = {.model = p.model,
                .dtype = static_cast<seesaw_dtype>(p.dtype),
                .batch = p.batch,
                .tokens = p.tokens,
                .d_model = p.d_model,
                .num_heads = p.num_heads,
                .head_dim = p.head_dim,
                .d_latent = p.d_latent,
                .d_q_latent = p.d_q_latent,
                .d_nope = p.d_nope,
                .d_rope = p.d_rope,
                .d_v = p.d_v,
                .rope_theta = p.rope.theta,
                .norm_epsilon = p.norm_epsilon,
                .scale = p.scale};
  const std::vector<seesaw_baseline_parameter> all = parameters(p);
  for (size_t i = 0; i < all.size(); ++i) {
    const bool matrix = all[i].rank == 2;
    call.weights[all[i].name] = rows_of(run.weight_values(i), 0, matrix ? all[i].shape[0] : 1,
                                        matrix ? all[i].shape[1] : all[i].shape[0]);
  }
  call.position = [](int64_t, int64_t token) { return static_cast<double>(token); };
  return call;
}

struct Sums {
  double errors = 0.0;
  double values = 0.0;

  void add(const Rows& want, const Rows& got) {
    for (size_t i = 0; i < want.size(); ++i) {
      for (size_t j = 0; j < want[i].size(); ++j) {
        errors += (got[i][j] - want[i][j]) * (got[i][j] - want[i][j]);
        values += want[i][j] * want[i][j];
      }
    }
  }
  double relative() const { return std::sqrt(errors / values); }
};

ModelCase reference_case(int32_t model, int32_t dtype) {
  ModelCase c;
  c.problem.model = model;
  c.problem.dtype = dtype;
  c.problem.batch = 2;
  c.problem.num_heads = 3;
  c.problem.d_model = 40;
  c.problem.head_dim = 24;
  c.problem.d_latent = 32;
  c.problem.d_q_latent = 20;
  c.problem.d_nope = 24;
  c.problem.d_rope = 8;
  c.problem.d_v = 16;
  c.problem.chunk_size = 4;
  c.problem.flags = SEESAW_BASELINE_CAUSAL | SEESAW_BASELINE_BIAS;
  return c;
}

class AgainstTheEquations : public ::testing::TestWithParam<int32_t> {};

TEST_P(AgainstTheEquations, Prefilled) {
  for (const int32_t dtype : {SEESAW_FLOAT32, SEESAW_BFLOAT16, SEESAW_FLOAT16}) {
    ModelCase c = reference_case(GetParam(), dtype);
    c.problem.tokens = 19;
    ModelRun run(c);
    ASSERT_EQ(run.run(), "");
    const std::vector<double> out = run.out_values();
    ReferenceCall reference = reference_of(run);
    reference.sees = [](int64_t, int64_t, int64_t i, int64_t s) { return s <= i; };
    Sums sums;
    for (int64_t b = 0; b < c.problem.batch; ++b) {
      const Rows x = rows_of(run.x_values(), b * 19, 19, c.problem.d_model);
      sums.add(reference_layer(reference, b, x, 19), rows_of(out, b * 19, 19, c.problem.d_model));
    }
    EXPECT_LE(sums.relative(), bound_of(run.problem().dtype)) << c.name();
  }
}

TEST_P(AgainstTheEquations, ATokenAtATime) {
  for (const int32_t dtype : {SEESAW_FLOAT32, SEESAW_BFLOAT16, SEESAW_FLOAT16}) {
    ModelCase c = reference_case(GetParam(), dtype);
    c.problem.tokens = 1;
    c.problem.cache_capacity = 21;
    ModelRun run(c);
    ReferenceCall reference = reference_of(run);
    reference.sees = [](int64_t, int64_t, int64_t, int64_t) { return true; };
    std::vector<Rows> tokens(static_cast<size_t>(c.problem.batch));
    Sums sums;
    for (int64_t token = 0; token < c.problem.cache_capacity; ++token) {
      if (token > 0) {
        run.advance(static_cast<uint64_t>(token) + 100);
      }
      ASSERT_EQ(run.run(), "");
      const std::vector<double> out = run.out_values();
      for (int64_t b = 0; b < c.problem.batch; ++b) {
        Rows& x = tokens[static_cast<size_t>(b)];
        x.push_back(rows_of(run.x_values(), b, 1, c.problem.d_model)[0]);
        sums.add(reference_layer(reference, b, x, 1), rows_of(out, b, 1, c.problem.d_model));
      }
    }
    EXPECT_LE(sums.relative(), bound_of(run.problem().dtype)) << c.name();
  }
}

INSTANTIATE_TEST_SUITE_P(Baselines, AgainstTheEquations,
                         ::testing::Values(SEESAW_BASELINE_MHA, SEESAW_BASELINE_TRADITIONAL_MLA,
                                           SEESAW_BASELINE_CHUNKED_MLA,
                                           SEESAW_BASELINE_DEEPSEEK_MLA_EXPANDED,
                                           SEESAW_BASELINE_DEEPSEEK_MLA_ABSORBED),
                         [](const auto& model) {
                           return std::string(seesaw_baselines_model_name(model.param));
                         });

}  // namespace
}  // namespace seesaw::baselines::gpu_test
