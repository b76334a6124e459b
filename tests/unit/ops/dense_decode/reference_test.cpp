// The reference itself, against a second definition written another way: in long double, from the
// case's logical keys instead of its pages, one weight at a time.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/float16.hpp"
#include "unit/ops/dense_decode/kernel_test.hpp"

namespace seesaw::testing {
namespace {

struct NaiveRow {
  std::vector<long double> out;
  long double lse;
  long double max_logit;
};

bool sees(const DecodeCase& test_case, int64_t sequence, int64_t token, int64_t t) {
  const DecodeSpec& spec = test_case.spec();
  const int64_t first_query = spec.length(sequence) - spec.query_tokens(sequence);
  const int64_t own = first_query + token;
  return !(spec.causal != 0 && t > own) && !(spec.window > 0 && t <= own - spec.window) &&
         !(spec.tree && t >= first_query && !test_case.tree_bit(sequence, token, t - first_query));
}

NaiveRow naive_row(const DecodeCase& test_case, int64_t sequence, int64_t token, int64_t head) {
  const DecodeSpec& spec = test_case.spec();
  const int64_t kv_head = head / (spec.h_q / spec.h_kv);
  std::vector<int64_t> keys;
  std::vector<long double> scores;
  for (int64_t t = 0; t < spec.length(sequence); ++t) {
    if (!sees(test_case, sequence, token, t)) {
      continue;
    }
    long double dot = 0;
    for (int64_t c = spec.d_qk; c-- > 0;) {
      dot += static_cast<long double>(test_case.query(sequence, token, head, c)) *
             static_cast<long double>(test_case.key(sequence, t, kv_head, c));
    }
    const long double score = dot * static_cast<long double>(spec.scale);
    const auto cap = static_cast<long double>(spec.soft_cap);
    keys.push_back(t);
    scores.push_back(cap > 0 ? cap * std::tanh(score / cap) : score);
  }
  // log(sum of exp) without subtracting a maximum: the scores of these cases are small.
  long double sum = 0;
  for (const long double score : scores) {
    sum += std::exp(score);
  }
  NaiveRow row{std::vector<long double>(static_cast<size_t>(spec.d_v), 0.0L), std::log(sum),
               scores.empty() ? -std::numeric_limits<long double>::infinity()
                              : *std::max_element(scores.begin(), scores.end())};
  const long double sink =
      spec.sinks.empty()
          ? 0
          : std::exp(static_cast<long double>(spec.sinks[static_cast<size_t>(head)]));
  for (size_t t = 0; t < scores.size(); ++t) {
    for (int64_t c = 0; c < spec.d_v; ++c) {
      row.out[static_cast<size_t>(c)] +=
          std::exp(scores[t]) / (sum + sink) *
          static_cast<long double>(test_case.key(sequence, keys[t], kv_head, c));
    }
  }
  return row;
}

void expect_exact_is_naive(const DecodeSpec& spec) {
  const DecodeCase test_case(spec);
  const DecodeResults exact = exact_results(test_case);
  int64_t row = 0;  // of out
  const auto check_row = [&](int64_t sequence, int64_t token, int64_t head) {
    const NaiveRow naive = naive_row(test_case, sequence, token, head);
    const auto number = static_cast<size_t>(
        spec.ragged() ? head * spec.total_queries() + spec.query_begin(sequence) + token
                      : (sequence * spec.h_q + head) * spec.s_q + token);
    const double lse = exact.lse[number];
    if (spec.max_logits && std::isinf(naive.max_logit)) {
      ASSERT_EQ(exact.max_logits[number], static_cast<double>(naive.max_logit));
    } else if (spec.max_logits) {
      ASSERT_NEAR(exact.max_logits[number], static_cast<double>(naive.max_logit), 1e-12);
    }
    if (std::isinf(naive.lse)) {
      ASSERT_EQ(lse, static_cast<double>(naive.lse)) << describe(spec);
      return;
    }
    ASSERT_NEAR(lse, static_cast<double>(naive.lse), 1e-12) << describe(spec);
    for (int64_t c = 0; c < spec.d_v; ++c) {
      ASSERT_NEAR(exact.out[static_cast<size_t>(row * spec.d_v + c)],
                  static_cast<double>(naive.out[static_cast<size_t>(c)]), 1e-13)
          << describe(spec);
    }
  };
  for (int64_t sequence = 0; sequence < spec.batch(); ++sequence) {
    for (int64_t r = 0; r < spec.query_tokens(sequence) * spec.h_q; ++r, ++row) {
      check_row(sequence, r / spec.h_q, r % spec.h_q);
    }
  }
}

TEST(Reference, AgreesWithAnotherDefinition) {
  expect_exact_is_naive({.seq_lens = {5, 0, 66}, .s_q = 3, .h_q = 4, .h_kv = 2});
  expect_exact_is_naive({.seq_lens = {5, 1, 66}, .s_q = 3, .h_q = 2, .causal = 1});
  expect_exact_is_naive({.seq_lens = {40},
                         .h_q = 3,
                         .d_qk = 1100,
                         .d_v = 1030,
                         .page_size = 3,
                         .q_dtype = SEESAW_FLOAT16,
                         .kv_dtype = SEESAW_FLOAT32,
                         .scale = 2.0F});
  expect_exact_is_naive({.seq_lens = {17},
                         .h_q = 2,
                         .d_qk = 13,
                         .d_v = 7,
                         .page_size = 5,
                         .q_dtype = SEESAW_FLOAT32,
                         .kv_dtype = SEESAW_FLOAT16,
                         .scale = -3.0F,
                         .gaps = {.q = 2, .kv_token = 3, .kv_page = 4}});
}

TEST(Reference, AgreesWithAnotherDefinitionOfEveryOption) {
  expect_exact_is_naive(
      {.seq_lens = {90, 2, 66, 0}, .s_q = 3, .h_q = 2, .causal = 1, .window = 20});
  expect_exact_is_naive({.seq_lens = {90, 2, 66}, .s_q = 3, .h_q = 2, .window = 1});
  expect_exact_is_naive({.seq_lens = {90, 4, 66}, .s_q = 10, .h_q = 2, .tree = true});
  expect_exact_is_naive(
      {.seq_lens = {40, 0}, .h_q = 3, .sinks = {0.5F, -2.0F, 4.0F}, .max_logits = true});
  expect_exact_is_naive({.seq_lens = {40}, .h_q = 2, .soft_cap = 1.5F, .scale = 3.0F});
  expect_exact_is_naive({.seq_lens = {30, 5, 0, 40},
                         .s_q = 9,
                         .h_q = 2,
                         .causal = 1,
                         .window = 11,
                         .tree = true,
                         .sinks = {0.5F, -1.0F},
                         .soft_cap = 2.0F,
                         .max_logits = true,
                         .query_lens = {2, 9, 3, 0}});
}

// What run writes is the exact result rounded to float, and from there to the output's type.
TEST(Reference, RoundsTheExactResultOnce) {
  const auto rounded_to = [](seesaw_dtype dtype, double value) {
    const auto single = static_cast<float>(value);
    switch (dtype) {
      case SEESAW_BFLOAT16:
        return static_cast<double>(to_float(from_float<BFloat16>(single)));
      case SEESAW_FLOAT16:
        return static_cast<double>(to_float(from_float<Float16>(single)));
      default:
        return static_cast<double>(single);
    }
  };
  for (const seesaw_dtype dtype : {SEESAW_FLOAT32, SEESAW_BFLOAT16, SEESAW_FLOAT16}) {
    const DecodeCase test_case({.seq_lens = {70}, .h_q = 3, .q_dtype = dtype});
    const DecodeResults exact = exact_results(test_case);
    const DecodeResults results = run_case(test_case, {.kernel = "reference.dense_decode"});
    for (size_t i = 0; i < exact.out.size(); ++i) {
      ASSERT_EQ(results.out[i], rounded_to(dtype, exact.out[i]));
    }
    for (size_t i = 0; i < exact.lse.size(); ++i) {
      ASSERT_EQ(results.lse[i], static_cast<double>(static_cast<float>(exact.lse[i])));
    }
  }
}

TEST(Reference, ThreadsChangeNoBit) {
  const DecodeCase test_case({.seq_lens = {70, 3, 140}, .s_q = 2, .h_q = 5});
  const DecodeResults one = run_case(test_case, {.kernel = "reference.dense_decode", .threads = 1});
  EXPECT_TRUE(one == run_case(test_case, {.kernel = "reference.dense_decode", .threads = 4}));
}

}  // namespace
}  // namespace seesaw::testing
