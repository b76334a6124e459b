// What a call may ask for besides dense decoding proper: windows, tree masks, sinks, soft caps,
// largest logits, query tokens of ragged number. The reference is tested in reference_test.cpp.
#include <algorithm>
#include <cmath>
#include <limits>

#include "unit/ops/dense_decode/kernel_test.hpp"

namespace seesaw::testing {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class Besides : public KernelTest {
 protected:
  // Within FlashMLA's bounds of the exact results, float32 within much less.
  static DecodeResults expect_exact(const DecodeCase& test_case, int32_t threads = 3) {
    const DecodeSpec& spec = test_case.spec();
    const DecodeResults results = run_case(test_case, options(threads));
    const DecodeResults exact = exact_results(test_case);
    const lab::ResultsOf<double> reference{exact.out, exact.lse};
    const lab::ResultShape shape{spec.ragged() ? spec.total_queries() : spec.s_q, spec.h_q,
                                 spec.d_v};
    lab::Allowed allowed = lab::flash_mla_suite(reference, shape);
    if (spec.q_dtype == SEESAW_FLOAT32 && spec.kv_dtype == SEESAW_FLOAT32) {
      allowed.out.assign(allowed.out.size(), 1e-6);
      allowed.out_relative.assign(allowed.out_relative.size(), 1e-5);
    }
    // Numbers of a quantised cache become those of the query's type.
    const double near = spec.kv_format != 0 ? 1e-3 : 1e-5;
    for (double& lse : allowed.lse) {
      lse = std::max(lse, near);
    }
    const lab::ErrorStatistics errors =
        lab::compare<double>({results.out, results.lse}, reference, allowed, shape);
    EXPECT_TRUE(errors.ok()) << describe(spec) << "\n" << errors.text();
    EXPECT_EQ(results.max_logits.size(), exact.max_logits.size());
    for (size_t i = 0; i < exact.max_logits.size(); ++i) {
      EXPECT_LE(lab::of_bound(results.max_logits[i], exact.max_logits[i],
                              near * (1 + std::fabs(exact.max_logits[i]))),
                1.0)
          << describe(spec) << " max_logits " << i << ": " << results.max_logits[i] << ", exact "
          << exact.max_logits[i];
    }
    return results;
  }
  static DecodeResults expect_exact(const DecodeSpec& spec, int32_t threads = 3) {
    return expect_exact(DecodeCase(spec), threads);
  }

  // The same on every kind of microkernel: floats, pairs, and records of bytes.
  static void expect_exact_of_every_dtype(DecodeSpec spec) {
    expect_exact(spec);
    spec.q_dtype = spec.kv_dtype = SEESAW_FLOAT32;
    expect_exact(spec);
    spec.q_dtype = spec.kv_dtype = SEESAW_FLOAT16;
    expect_exact(spec);
    spec.q_dtype = SEESAW_BFLOAT16;
    spec.kv_format = SEESAW_FORMAT_FP8_656;
    expect_exact(spec);
  }

  static std::vector<float> some_sinks(int64_t heads) {
    std::vector<float> sinks;
    for (int64_t h = 0; h < heads; ++h) {
      sinks.push_back(static_cast<float>(h % 7) - 1.0F);
    }
    return sinks;
  }
};

TEST_P(Besides, Windows) {
  for (const int64_t window : {1, 5, 64, 65, 300, 5000}) {
    expect_exact({.seq_lens = {700, 64, 65, 3, 0}, .h_q = 16, .causal = 1, .window = window});
    expect_exact({.seq_lens = {700, 130, 2}, .s_q = 3, .h_q = 5, .causal = 1, .window = window});
    expect_exact({.seq_lens = {500, 130, 2}, .s_q = 3, .h_q = 5, .window = window});
  }
  expect_exact_of_every_dtype(
      {.seq_lens = {700, 3}, .s_q = 2, .h_q = 16, .causal = 1, .window = 100});
  expect_exact({.seq_lens = {900, 300}, .s_q = 40, .h_q = 40, .causal = 1, .window = 200});
}

TEST_P(Besides, WhatIsBeforeTheWindowIsNeverRead) {
  DecodeCase test_case({.seq_lens = {300, 90}, .s_q = 2, .h_q = 16, .causal = 1, .window = 30});
  const DecodeResults clean = run_case(test_case, options());
  for (int64_t sequence = 0; sequence < 2; ++sequence) {
    const int64_t first = test_case.spec().length(sequence) - 2 + 1 - 30;
    for (int64_t t = 0; t < first; ++t) {
      test_case.set_key(sequence, t, 0, t % 576, NAN);
    }
  }
  EXPECT_TRUE(run_case(test_case, options()) == clean);
}

TEST_P(Besides, AWindowOverAllIsNoWindow) {
  const DecodeSpec spec{.seq_lens = {300, 90}, .s_q = 2, .h_q = 16, .causal = 1};
  DecodeSpec windowed = spec;
  windowed.window = 300;
  const DecodeResults plain = expect_exact(spec);
  const DecodeResults results = expect_exact(windowed);
  EXPECT_LT(std::fabs(results.lse[0] - plain.lse[0]), 1e-5);
}

TEST_P(Besides, TreeMasks) {
  for (const int64_t s_q : {1, 4, 8, 9, 33}) {
    expect_exact({.seq_lens = {200, 40, 7, 0}, .s_q = s_q, .h_q = 8, .tree = true});
    expect_exact({.seq_lens = {200, 40}, .s_q = s_q, .h_q = 3, .causal = 1, .tree = true});
  }
  expect_exact_of_every_dtype({.seq_lens = {200, 70}, .s_q = 6, .h_q = 16, .tree = true});
  expect_exact({.seq_lens = {400}, .s_q = 6, .h_q = 16, .window = 150, .tree = true});
}

TEST_P(Besides, WhatATreeMaskHidesDoesNotShow) {
  DecodeCase test_case({.seq_lens = {100}, .s_q = 5, .h_q = 8, .tree = true});
  test_case.set_key(0, 97, 0, 3, NAN);  // of query token 2
  const DecodeResults results = run_case(test_case, options());
  for (int64_t token = 0; token < 5; ++token) {
    EXPECT_EQ(std::isnan(results.lse[static_cast<size_t>(token)]), test_case.tree_bit(0, token, 2))
        << token;
  }
}

TEST_P(Besides, Sinks) {
  for (const int64_t heads : {3, 16, 128}) {
    expect_exact({.seq_lens = {300, 64, 0, 1}, .h_q = heads, .sinks = some_sinks(heads)});
  }
  expect_exact_of_every_dtype(
      {.seq_lens = {300, 64}, .s_q = 2, .h_q = 16, .causal = 1, .sinks = some_sinks(16)});
}

TEST_P(Besides, SinksLeaveTheLseAloneAndInfiniteOnesGiveAllOrNothing) {
  const DecodeSpec spec{.seq_lens = {70, 0}, .h_q = 3};
  DecodeSpec sunk = spec;
  sunk.sinks = {-kInfinity, kInfinity, 1.0F};
  const DecodeResults plain = run(spec);
  const DecodeResults results = run(sunk);
  EXPECT_EQ(results.lse, plain.lse);
  for (size_t c = 0; c < 512; ++c) {
    EXPECT_EQ(results.out[c], plain.out[c]);
    EXPECT_EQ(results.out[512 + c], 0.0);
  }
}

TEST_P(Besides, SoftCaps) {
  for (const float cap : {0.5F, 30.0F}) {
    expect_exact({.seq_lens = {300, 64, 0}, .h_q = 16, .soft_cap = cap, .query_magnitude = 3.0F});
    expect_exact(
        {.seq_lens = {300, 64}, .s_q = 2, .h_q = 100, .causal = 1, .soft_cap = cap, .scale = 1.0F});
  }
  expect_exact_of_every_dtype({.seq_lens = {300, 64}, .h_q = 16, .soft_cap = 0.2F});
}

TEST_P(Besides, LargestLogits) {
  expect_exact({.seq_lens = {3000, 64, 0, 1}, .h_q = 16, .max_logits = true});
  expect_exact({.seq_lens = {300, 3, 1}, .s_q = 3, .h_q = 5, .causal = 1, .max_logits = true});
  expect_exact({.seq_lens = {300}, .h_q = 5, .soft_cap = 0.5F, .max_logits = true});
  expect_exact({.seq_lens = {300}, .h_q = 5, .max_logits = true, .scale = -2.0F});
  expect_exact({.seq_lens = {300}, .h_q = 5, .max_logits = true, .scale = 1e-8F});
}

TEST_P(Besides, LargestLogitsAreNaturalInEitherBase) {
  const DecodeSpec spec{
      .seq_lens = {90}, .h_q = 4, .lse_base = SEESAW_LSE_BASE2, .max_logits = true};
  expect_exact(spec);
}

TEST_P(Besides, RaggedQueries) {
  const DecodeSpec spec{.seq_lens = {300, 64, 0, 500, 2},
                        .s_q = 7,
                        .h_q = 16,
                        .causal = 1,
                        .query_lens = {1, 7, 3, 0, 4}};
  expect_exact(spec);
  expect_exact_of_every_dtype(spec);
  expect_exact({.seq_lens = {900, 64, 70}, .s_q = 70, .h_q = 20, .query_lens = {33, 1, 70}});
  expect_exact({.seq_lens = {900, 64, 70},
                .s_q = 70,
                .h_q = 4,
                .h_kv = 2,
                .causal = 1,
                .query_lens = {33, 1, 70},
                .gaps = {.q = 8, .out = 3, .lse = 5}});
}

TEST_P(Besides, RaggedOfOneNumberIsUniform) {
  const DecodeSpec uniform{.seq_lens = {300, 64}, .s_q = 3, .h_q = 8, .causal = 1};
  DecodeSpec ragged = uniform;
  ragged.query_lens = {3, 3};
  EXPECT_EQ(run(ragged).out, run(uniform).out);
}

TEST_P(Besides, AllAtOnce) {
  DecodeSpec spec{.seq_lens = {1300, 64, 9, 500, 0},
                  .s_q = 9,
                  .h_q = 16,
                  .causal = 1,
                  .window = 400,
                  .tree = true,
                  .sinks = some_sinks(16),
                  .soft_cap = 1.0F,
                  .max_logits = true,
                  .query_lens = {3, 9, 1, 0, 2}};
  expect_exact_of_every_dtype(spec);
  spec.batch_invariant = true;
  expect_exact(spec);
}

TEST_P(Besides, BatchInvariantModeIgnoresTheRestOfTheBatch) {
  DecodeSpec spec{.seq_lens = {1300, 700},
                  .s_q = 2,
                  .h_q = 8,
                  .causal = 1,
                  .window = 600,
                  .sinks = some_sinks(8),
                  .max_logits = true,
                  .batch_invariant = true,
                  .table_pages = 30};
  const DecodeResults both = run(spec);
  spec.seq_lens = {1300};
  const DecodeResults one = run(spec);
  for (size_t i = 0; i < one.out.size(); ++i) {
    ASSERT_EQ(one.out[i], both.out[i]);
  }
}

INSTANTIATE_TEST_SUITE_P(, Besides, every_kernel(), kernel_name);

}  // namespace
}  // namespace seesaw::testing
