// The contract's bounds against inputs made to break them: every source of error of
// docs/guide/06-numerics.md alone, at its worst, and draws that a benchmark does not make. On every
// kernel of the CPU, and on a model of the roundings that a GPU kernel makes, which shows that the
// bounds are not loose: what is made for a source comes near to them.
#include <algorithm>
#include <cmath>
#include <functional>

#include "lab/accuracy.hpp"
#include "support/rounded_model.hpp"
#include "unit/ops/dense_decode/kernel_test.hpp"

namespace seesaw::testing {
namespace {

constexpr seesaw_dtype kDtypes[] = {SEESAW_BFLOAT16, SEESAW_FLOAT16, SEESAW_FLOAT32};
constexpr int64_t kScoreColumn = 574;  // not a value; the next one adds what 16 bits leave out
constexpr float kRestUnit = 0x1p-8F;

double roundoff(seesaw_dtype dtype) { return lab::rounding_of(dtype, dtype).weights; }

// One head and one sequence, all zero; scores are the keys' two last columns.
DecodeCase blank_case(int32_t tokens, seesaw_dtype dtype) {
  DecodeCase made({.seq_lens = {tokens},
                   .h_q = 1,
                   .q_dtype = dtype,
                   .kv_dtype = dtype,
                   .scale = 1.0F,
                   .query_magnitude = 0.0F});
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t c = 0; c < 576; ++c) {
      made.set_key(0, t, 0, c, 0.0F);
    }
  }
  made.set_query(0, 0, 0, kScoreColumn, 1.0F);
  made.set_query(0, 0, 0, kScoreColumn + 1, kRestUnit);
  return made;
}

void set_score(DecodeCase* made, int64_t token, double score) {
  made->set_key(0, token, 0, kScoreColumn, static_cast<float>(score));
  const double rest = score - static_cast<double>(made->key(0, token, 0, kScoreColumn));
  made->set_key(0, token, 0, kScoreColumn + 1,
                static_cast<float>(rest / static_cast<double>(kRestUnit)));
}

void set_values(DecodeCase* made, int64_t token, float value) {
  for (int64_t c = 0; c < 512; ++c) {
    made->set_key(0, token, 0, c, value);
  }
}

// Two keys that cancel: right is 4 tanh(s / 2), a hundredth of the values.
DecodeCase two_keys(seesaw_dtype dtype) {
  DecodeCase made = blank_case(2, dtype);
  set_values(&made, 0, 4.0F);
  set_values(&made, 1, -4.0F);
  made.set_key(0, 0, 0, kScoreColumn, 0.0139F);
  return made;
}

// Probabilities next to the middle of two numbers of the type, rounded down where the value is
// positive and up where it is negative: errors of one sign, none of which averages out.
DecodeCase one_sided_weights(seesaw_dtype dtype) {
  DecodeCase made = blank_case(257, dtype);
  const double middle = 1 + roundoff(dtype);
  for (int64_t t = 1; t < 257; ++t) {
    const double side = t % 2 == 0 ? 1.0 : -1.0;
    set_values(&made, t, t % 2 == 0 ? -1.0F : 1.0F);
    set_score(&made, t, std::log(0.5 * middle * (1 + side * roundoff(dtype) / 16)));
  }
  return made;
}

// The first value is 1; each of the others is half of the distance to the next float, and is lost.
DecodeCase absorbed_values(seesaw_dtype dtype) {
  constexpr int32_t kTokens = 5000;
  DecodeCase made = blank_case(kTokens, dtype);
  for (int64_t t = 0; t < kTokens; ++t) {
    set_values(&made, t, t == 0 ? 1.0F : 0x1p-24F);
  }
  return made;
}

// Scores of 575 products each: behind a first one, half a float's distance each, lost in one key,
// and a little more, counted twice, in the other. The values of the two are opposite.
DecodeCase absorbed_scores(seesaw_dtype dtype) {
  constexpr float kScale = 60.0F;
  DecodeCase made(
      {.seq_lens = {2}, .h_q = 1, .q_dtype = dtype, .kv_dtype = dtype, .scale = kScale});
  for (int64_t c = 0; c < 576; ++c) {
    made.set_query(0, 0, 0, c, c == 0 || c == 2 ? 1.0F : c == 1 ? 0.0F : 0x1p-12F);
    made.set_key(0, 0, 0, c, 0x1p-12F);
    made.set_key(0, 1, 0, c, 0x1p-12F * (1 + 0x1p-7F));
  }
  for (const int64_t token : {0, 1}) {
    made.set_key(0, token, 0, 0, 1.0F);
    made.set_key(0, token, 0, 1, token == 0 ? 1.0F : -1.0F);
    made.set_key(0, token, 0, 2, 0.0F);
  }
  return made;
}

// Values a thousand times as large as the others in a few places, which the query does not see.
DecodeCase spikes(seesaw_dtype dtype) {
  DecodeCase made({.seq_lens = {900, 130},
                   .h_q = 3,
                   .q_dtype = dtype,
                   .kv_dtype = dtype,
                   .values = lab::Values::kNormal});
  for (int64_t sequence = 0; sequence < 2; ++sequence) {
    for (int64_t head = 0; head < 3; ++head) {
      for (int64_t c = 0; c < 512; c += 7) {
        made.set_query(sequence, 0, head, c, 0.0F);
      }
    }
    for (int64_t t = 0; t < made.spec().length(sequence); t += 97) {
      for (int64_t c = 0; c < 512; c += 7) {
        made.set_key(sequence, t, 0, c, 1000.0F * made.key(sequence, t, 0, c));
      }
    }
  }
  return made;
}

// A key that float16 holds as a subnormal probability, or as 0, and values that make it count.
DecodeCase faint_weights(seesaw_dtype dtype) {
  DecodeCase made = blank_case(130, dtype);
  for (int64_t t = 1; t < 130; ++t) {
    set_values(&made, t, 1000.0F);
    set_score(&made, t, std::log(0x1p-25 * (1 - 1.0 / 64)));
  }
  return made;
}

DecodeCase drawn(seesaw_dtype dtype, lab::Values values) {
  return DecodeCase({.seq_lens = {700, 0, 65},
                     .s_q = 2,
                     .h_q = 5,
                     .q_dtype = dtype,
                     .kv_dtype = dtype,
                     .causal = 1,
                     .scale = 1.0F / 24,
                     .values = values});
}

// Of the largest error of out or LSE, as a share of what is allowed. Fails the test if it is more.
double share_of_bound(const DecodeCase& made, const DecodeResults& results,
                      const DecodeResults& exact) {
  const lab::ErrorStatistics errors = errors_of(made, results, exact);
  EXPECT_TRUE(errors.ok()) << describe(made.spec()) << "\n" << errors.text();
  return std::max(errors.out_of_bound.max(), errors.lse_of_bound.max());
}

struct Adversary {
  const char* name;
  std::function<DecodeCase(seesaw_dtype)> make;
};
const Adversary kAdversaries[] = {{"two keys", two_keys},
                                  {"one-sided weights", one_sided_weights},
                                  {"absorbed values", absorbed_values},
                                  {"absorbed scores", absorbed_scores},
                                  {"spikes", spikes},
                                  {"faint weights", faint_weights}};

// Of a share in the test's report (--gtest_output=xml).
std::string property_name(const char* adversary, seesaw_dtype dtype) {
  std::string name = std::string(adversary) + (dtype == SEESAW_BFLOAT16  ? "_bf16"
                                               : dtype == SEESAW_FLOAT16 ? "_fp16"
                                                                         : "_fp32");
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == ' ' || c == '-'; }, '_');
  return name;
}

class Accuracy : public KernelTest {};
INSTANTIATE_TEST_SUITE_P(Kernels, Accuracy, every_kernel(), kernel_name);

TEST_P(Accuracy, AdversarialInputsStayWithinTheBounds) {
  for (const Adversary& adversary : kAdversaries) {
    for (const seesaw_dtype dtype : kDtypes) {
      SCOPED_TRACE(adversary.name);
      const DecodeCase made = adversary.make(dtype);
      const DecodeResults exact = exact_results(made);
      double share = 0;
      for (const int32_t threads : {1, 3}) {
        share = std::max(share, share_of_bound(made, run_case(made, options(threads)), exact));
      }
      RecordProperty(property_name(adversary.name, dtype), std::to_string(share));
    }
  }
}

TEST_P(Accuracy, EveryDrawStaysWithinTheBounds) {
  for (const lab::NamedValues& named : lab::all_values()) {
    for (const seesaw_dtype dtype : kDtypes) {
      testing::expect_contract(drawn(dtype, named.values), options());
    }
  }
}

// The roundings that a GPU kernel makes and a CPU kernel may not: 16-bit probabilities in a lagging
// frame, 16-bit partials.
TEST(RoundedModel, StaysWithinTheBounds) {
  for (const seesaw_dtype dtype : {SEESAW_BFLOAT16, SEESAW_FLOAT16}) {
    for (const int64_t pieces : {1, 3}) {
      for (const Adversary& adversary : kAdversaries) {
        SCOPED_TRACE(adversary.name);
        const DecodeCase made = adversary.make(dtype);
        const double share =
            share_of_bound(made, run_model(made, {.pieces = pieces}), exact_results(made));
        RecordProperty(property_name(adversary.name, dtype), std::to_string(share));
      }
      for (const lab::NamedValues& named : lab::all_values()) {
        SCOPED_TRACE(named.name);
        const DecodeCase made = drawn(dtype, named.values);
        share_of_bound(made, run_model(made, {.pieces = pieces}), exact_results(made));
      }
    }
  }
}

// A bound that nothing comes near to says nothing: each source's worst input takes at least two
// fifths of it, the rest being for the other sources.
TEST(RoundedModel, TheWorstInputsComeNearTheBounds) {
  struct Expected {
    const char* name;
    DecodeCase made;
    RoundedModel model;
    double least;
  };
  const Expected cases[] = {
      {"bf16 weights", one_sided_weights(SEESAW_BFLOAT16), {}, 0.5},
      {"fp16 weights", one_sided_weights(SEESAW_FLOAT16), {}, 0.4},
      {"values", absorbed_values(SEESAW_FLOAT32), {}, 0.4},
      {"scores", absorbed_scores(SEESAW_FLOAT32), {}, 0.5},
      {"faint weights", faint_weights(SEESAW_FLOAT16), {}, 0.5},
  };
  for (const Expected& expected : cases) {
    const double share = share_of_bound(expected.made, run_model(expected.made, expected.model),
                                        exact_results(expected.made));
    RecordProperty(expected.name, std::to_string(share));
    EXPECT_GT(share, expected.least) << expected.name;
  }
}

// The other way round: a right result moved by a hundredth more than is allowed is refused.
TEST(Bounds, AnErrorJustBeyondTheBoundFails) {
  for (const lab::NamedValues& named : lab::all_values()) {
    for (const seesaw_dtype dtype : kDtypes) {
      const DecodeCase made = drawn(dtype, named.values);
      const lab::Allowed allowed = lab::allowed_errors(made.problem(), made.inputs());
      const DecodeResults exact = exact_results(made);
      const size_t element = 3 * 512 + 77;  // of the first sequence
      const auto moved = [&](double share) {
        DecodeResults results = exact;
        results.out[element] +=
            share * (allowed.out[element] +
                     allowed.out_relative[element / 512] * std::abs(exact.out[element]));
        return errors_of(made, results, exact);
      };
      EXPECT_TRUE(moved(0.99).ok()) << named.name;
      EXPECT_EQ(moved(1.01).bad_out, 1U) << named.name;
      DecodeResults results = exact;
      results.lse[1] += 0.99 * allowed.lse[1];
      EXPECT_TRUE(errors_of(made, results, exact).ok()) << named.name;
      results.lse[1] -= 2.0 * allowed.lse[1];
      EXPECT_EQ(errors_of(made, results, exact).bad_lse, 1U) << named.name;
    }
  }
}

// What is allowed follows the inputs: nothing where nothing is attended, and in proportion to the
// values' magnitudes, not to what is left of them.
TEST(Bounds, FollowTheMagnitudesOfValues) {
  const DecodeCase made = two_keys(SEESAW_BFLOAT16);
  const lab::Allowed allowed = lab::allowed_errors(made.problem(), made.inputs());
  // 2^-8 for weights, 2^-11 for partials, of values of 4; sums and scores add less than a tenth.
  EXPECT_GT(allowed.out[0], 4 * (0x1p-8 + 0x1p-11));
  EXPECT_LT(allowed.out[0], 4 * (0x1p-8 + 0x1p-11) * 1.1);
  const DecodeCase empty({.seq_lens = {0}, .h_q = 1});
  EXPECT_EQ(lab::allowed_errors(empty.problem(), empty.inputs()).out[0], 0);
}

}  // namespace
}  // namespace seesaw::testing
