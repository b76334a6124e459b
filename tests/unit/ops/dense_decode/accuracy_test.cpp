// The contract's bounds against inputs made to break them: every source of error of
// docs/guide/06-numerics.md alone, at its worst, and draws that a benchmark does not make. On every
// kernel of the CPU, and on a model of the roundings that a GPU kernel makes, which shows that the
// bounds are not loose: what is made for a source comes near to them.
#include <algorithm>
#include <cmath>

#include "lab/accuracy.hpp"
#include "support/adversaries.hpp"
#include "support/rounded_model.hpp"
#include "unit/ops/dense_decode/kernel_test.hpp"

namespace seesaw::testing {
namespace {

constexpr seesaw_dtype kDtypes[] = {SEESAW_BFLOAT16, SEESAW_FLOAT16, SEESAW_FLOAT32};

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
  for (const Adversary& adversary : all_adversaries()) {
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
      for (const Adversary& adversary : all_adversaries()) {
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
