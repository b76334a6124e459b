// docs/contract.md line by line. What numbers must come out is stated here where it is simple, and
// taken from the double reference elsewhere. Every case has its unused memory poisoned.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "unit/ops/dense_decode/kernel_test.hpp"

namespace seesaw::testing {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

class Contract : public KernelTest {
 protected:
  // Bits of one row of the results of a case with s_q = 1.
  static bool row_is(const DecodeSpec& spec, const DecodeResults& results, int64_t row, double out,
                     double lse) {
    const auto begin = results.out.begin() + row * spec.d_v;
    return results.lse[static_cast<size_t>(row)] == lse &&
           std::all_of(begin, begin + spec.d_v, [&](double value) { return value == out; });
  }

  static bool row_is_nan(const DecodeSpec& spec, const DecodeResults& results, int64_t row) {
    const auto begin = results.out.begin() + row * spec.d_v;
    return std::isnan(results.lse[static_cast<size_t>(row)]) &&
           std::all_of(begin, begin + spec.d_v, [](double value) { return std::isnan(value); });
  }

  static bool row_is_finite(const DecodeSpec& spec, const DecodeResults& results, int64_t row) {
    const auto begin = results.out.begin() + row * spec.d_v;
    return std::isfinite(results.lse[static_cast<size_t>(row)]) &&
           std::all_of(begin, begin + spec.d_v, [](double value) { return std::isfinite(value); });
  }
};

INSTANTIATE_TEST_SUITE_P(Kernels, Contract, every_kernel(), kernel_name);

TEST_P(Contract, NothingToAttendGivesZeroAndMinusInfinity) {
  const DecodeSpec spec{.seq_lens = {0, 130, -5, 0}, .h_q = 5};
  const DecodeResults results = run(spec);
  for (const int64_t sequence : {0, 2, 3}) {
    for (int64_t head = 0; head < 5; ++head) {
      EXPECT_TRUE(row_is(spec, results, sequence * 5 + head, 0.0, -kInfinity));
    }
  }
  expect_contract(spec);
}

TEST_P(Contract, NothingToAttendAnywhere) {
  const DecodeSpec spec{.seq_lens = {0, 0, -1}, .s_q = 2, .h_q = 3};
  const DecodeResults results = run(spec);
  for (int64_t row = 0; row < 3 * 2 * 3; ++row) {
    EXPECT_TRUE(row_is(spec, results, row, 0.0, -kInfinity));
  }
}

TEST_P(Contract, ATableWithoutColumnsAndACacheWithoutPagesHoldEmptySequences) {
  DecodeCase test_case({.seq_lens = {0, -3, 0}, .s_q = 2, .h_q = 3});
  seesaw_dense_decode_problem problem = test_case.problem();
  problem.max_pages_per_sequence = 0;
  for (const bool invariant : {false, true}) {
    const std::string kernel = options().kernel;
    seesaw_options asked = test_case.options(kernel.c_str(), 3);
    asked.batch_invariant = invariant ? 1 : 0;
    HostCall call(test_case, asked);
    const DenseDecode decode(problem, asked);
    ASSERT_LE(decode.schedule_bytes(), call.schedule.size());
    ASSERT_LE(decode.workspace_bytes(), call.workspace.size());
    call.args.block_table.shape[1] = 0;
    call.args.block_table.data = nullptr;
    call.args.kv_cache.shape[0] = 0;
    call.args.kv_cache.data = nullptr;
    decode.prepare(call.args, call.call);
    decode.run(call.args, call.call);
    const auto* lse = reinterpret_cast<const float*>(call.lse.data());
    for (size_t row = 0; row < 3 * 2 * 3; ++row) {
      EXPECT_EQ(lse[row], -std::numeric_limits<float>::infinity());
    }
    for (size_t byte = 0; byte < call.out.size(); ++byte) {
      ASSERT_EQ(call.out.data()[byte], 0);
    }
  }
}

TEST_P(Contract, AFlagSelectsPlusInfinity) {
  for (const int32_t base : {SEESAW_LSE_NATURAL, SEESAW_LSE_BASE2}) {
    const DecodeSpec spec{.seq_lens = {0, 70},
                          .h_q = 4,
                          .lse_base = base,
                          .empty_lse = SEESAW_EMPTY_LSE_POSITIVE_INFINITY};
    EXPECT_TRUE(row_is(spec, run(spec), 0, 0.0, kInfinity));
    expect_contract(spec);
  }
}

TEST_P(Contract, FirstRowsOfAShortSequenceAreEmptyUnderTheMask) {
  const DecodeSpec spec{.seq_lens = {3}, .s_q = 5, .h_q = 1, .causal = 1};
  const DecodeResults results = run(spec);
  EXPECT_TRUE(row_is(spec, results, 0, 0.0, -kInfinity));
  EXPECT_TRUE(row_is(spec, results, 1, 0.0, -kInfinity));
  for (int64_t row = 2; row < 5; ++row) {
    EXPECT_TRUE(row_is_finite(spec, results, row));
  }
  expect_contract({.seq_lens = {0, 1, 4, 5, 6, -3, 200}, .s_q = 5, .h_q = 7, .causal = 1});
}

// A query of zeros weighs all visible keys alike: with key t holding t + 1, the mean tells how many
// are visible.
TEST_P(Contract, CausalIsBottomRightAligned) {
  const DecodeSpec spec{.seq_lens = {9},
                        .s_q = 4,
                        .h_q = 1,
                        .d_qk = 64,
                        .d_v = 64,
                        .q_dtype = SEESAW_FLOAT32,
                        .kv_dtype = SEESAW_FLOAT32,
                        .causal = 1,
                        .query_magnitude = 0.0F};
  DecodeCase test_case(spec);
  for (int64_t t = 0; t < 9; ++t) {
    for (int64_t c = 0; c < 64; ++c) {
      test_case.set_key(0, t, 0, c, static_cast<float>(t + 1));
    }
  }
  const DecodeResults results = run_case(test_case, options());
  for (int64_t token = 0; token < 4; ++token) {
    const double visible = static_cast<double>(9 - 4 + token + 1);
    EXPECT_NEAR(results.out[static_cast<size_t>(token * 64)], (visible + 1) / 2, 1e-5);
    EXPECT_NEAR(results.lse[static_cast<size_t>(token)], std::log(visible), 1e-5);
  }
}

TEST_P(Contract, DeadMemoryIsNeverReadIntoAResult) {
  DecodeSpec spec{.seq_lens = {1, 63, 65, 200}, .s_q = 2, .h_q = 9, .causal = 1};
  spec.gaps = {.q = 3, .kv_token = 5, .kv_page = 7, .out = 1, .lse = 1};
  const DecodeResults with_nan = run(spec);
  spec.poison = 0x41;  // ordinary numbers
  EXPECT_TRUE(with_nan == run(spec));
  expect_contract(spec);
}

TEST_P(Contract, LseIsNaturalByDefaultAndBaseTwoByFlag) {
  DecodeSpec spec{.seq_lens = {100, 7}, .h_q = 8, .scale = 2.0F};
  const DecodeResults natural = run(spec);
  spec.lse_base = SEESAW_LSE_BASE2;
  const DecodeResults base_two = run(spec);
  EXPECT_EQ(natural.out, base_two.out);
  for (size_t i = 0; i < natural.lse.size(); ++i) {
    EXPECT_NEAR(base_two.lse[i], natural.lse[i] / std::numbers::ln2, 1e-5);
  }
  expect_contract(spec);
}

TEST_P(Contract, LseIsOptional) {
  const DecodeCase test_case({.seq_lens = {100, 7}, .h_q = 8});
  RunOptions without = options();
  without.want_lse = false;
  const DecodeResults results = run_case(test_case, without);
  EXPECT_EQ(results.out, run_case(test_case, options()).out);
  EXPECT_TRUE(std::all_of(results.lse.begin(), results.lse.end(),
                          [](double value) { return std::isnan(value); }));  // as it was
}

// A NaN in the latent columns is in key and value, in the rotary ones in the key alone.
TEST_P(Contract, NaNInAnAttendedKeyShows) {
  for (const int64_t column : {0, 511, 512, 575}) {
    for (const int64_t token : {0, 64, 199}) {
      const DecodeSpec spec{.seq_lens = {200, 200}, .h_q = 3};
      DecodeCase test_case(spec);
      test_case.set_key(1, token, 0, column, kNaN);
      const DecodeResults results = run_case(test_case, options());
      for (int64_t head = 0; head < 3; ++head) {
        EXPECT_TRUE(row_is_finite(spec, results, head)) << "the other sequence, column " << column;
        EXPECT_TRUE(row_is_nan(spec, results, 3 + head)) << "column " << column;
      }
    }
  }
}

TEST_P(Contract, NaNInAKeyShowsOnlyToTokensThatSeeIt) {
  for (const seesaw_dtype dtype : {SEESAW_BFLOAT16, SEESAW_FLOAT16, SEESAW_FLOAT32}) {
    const DecodeSpec spec{
        .seq_lens = {130}, .s_q = 3, .h_q = 2, .q_dtype = dtype, .kv_dtype = dtype, .causal = 1};
    DecodeCase test_case(spec);
    test_case.set_key(0, 129, 0, 17, kNaN);  // the last token: seen by the last query token alone
    testing::expect_contract(test_case, options());
    const DecodeResults results = run_case(test_case, options());
    for (int64_t row = 0; row < 6; ++row) {
      const auto begin = results.out.begin() + row * spec.d_v;
      const bool all_nan =
          std::all_of(begin, begin + spec.d_v, [](double v) { return std::isnan(v); });
      const bool any_nan =
          std::any_of(begin, begin + spec.d_v, [](double v) { return std::isnan(v); });
      EXPECT_EQ(all_nan, row >= 4) << "row " << row;
      EXPECT_EQ(any_nan, row >= 4) << "row " << row;
    }
  }
}

TEST_P(Contract, NaNInAQueryShowsInItsRowAlone) {
  for (const int64_t column : {0, 300, 575}) {
    const DecodeSpec spec{.seq_lens = {90}, .h_q = 20};
    DecodeCase test_case(spec);
    test_case.set_query(0, 0, 7, column, kNaN);
    const DecodeResults results = run_case(test_case, options());
    for (int64_t head = 0; head < 20; ++head) {
      EXPECT_EQ(row_is_nan(spec, results, head), head == 7);
      EXPECT_EQ(row_is_finite(spec, results, head), head != 7);
    }
  }
}

TEST_P(Contract, NaNInAQueryWithNothingToAttendIsEmpty) {
  const DecodeSpec spec{.seq_lens = {0}, .h_q = 2};
  DecodeCase test_case(spec);
  test_case.set_query(0, 0, 0, 0, kNaN);
  EXPECT_TRUE(row_is(spec, run_case(test_case, options()), 0, 0.0, -kInfinity));
}

TEST_P(Contract, ScoresOfMinusInfinityWeighNothing) {
  constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
  for (const int64_t masked : {1, 64, 100, 128}) {  // first keys of the sequence
    const DecodeSpec spec{.seq_lens = {200, 128}, .h_q = 3};
    DecodeCase test_case(spec);
    for (int64_t head = 0; head < 3; ++head) {
      test_case.set_query(0, 0, head, 575, 1.0F);
      test_case.set_query(1, 0, head, 575, 1.0F);
    }
    for (int64_t t = 0; t < masked; ++t) {
      test_case.set_key(0, t, 0, 575, kMinusInfinity);
      test_case.set_key(1, t, 0, 575, kMinusInfinity);
    }
    testing::expect_contract(test_case, options());
    const DecodeResults results = run_case(test_case, options());
    EXPECT_TRUE(row_is_finite(spec, results, 0));
    if (masked == 128) {  // all of the second sequence's
      EXPECT_TRUE(row_is(spec, results, 3, 0.0, -kInfinity));
    }
  }
}

// K and V are one latent vector: a value of -inf whose score is -inf has weight 0, and 0 times
// infinity is NaN.
TEST_P(Contract, InfiniteValuesShowInTheirColumn) {
  constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
  for (const int32_t length : {64, 130, 200}) {
    for (const int64_t column : {0, 300, 511}) {
      DecodeCase test_case(
          {.seq_lens = {length}, .s_q = 3, .h_q = 2, .causal = 1, .query_magnitude = 0.0F});
      test_case.set_key(0, length - 2, 0, column, kMinusInfinity);  // query tokens 1 and 2 see it
      for (int64_t row = 0; row < 6; ++row) {
        test_case.set_query(0, row / 2, row % 2, column, 1.0F);
      }
      const DecodeResults results = run_case(test_case, options());
      for (size_t row = 0; row < 6; ++row) {
        for (size_t c = 0; c < 512; ++c) {
          ASSERT_EQ(std::isnan(results.out[row * 512 + c]),
                    row >= 2 && c == static_cast<size_t>(column))
              << length << ", row " << row << ", column " << c;
        }
      }
    }
  }
}

// Queries that read column 575 alone, whose keys are given: the scores are scale * keys.
DecodeResults scored(const std::vector<float>& keys, float scale, seesaw_dtype dtype,
                     const RunOptions& options, DecodeResults* truth) {
  DecodeCase test_case({.seq_lens = {static_cast<int32_t>(keys.size())},
                        .h_q = 2,
                        .q_dtype = dtype,
                        .kv_dtype = dtype,
                        .scale = scale,
                        .query_magnitude = 0.0F});
  for (int64_t t = 0; t < static_cast<int64_t>(keys.size()); ++t) {
    test_case.set_key(0, t, 0, 575, keys[static_cast<size_t>(t)]);
  }
  test_case.set_query(0, 0, 0, 575, 1.0F);
  test_case.set_query(0, 0, 1, 575, 1.0F);
  *truth = exact_results(test_case);
  return run_case(test_case, options);
}

TEST_P(Contract, ScoresAtTheEndsOfFloatAreScores) {
  for (const seesaw_dtype dtype : {SEESAW_BFLOAT16, SEESAW_FLOAT32}) {
    for (const float score : {-1e38F, 1e38F, -2e38F, 2e38F, 0x1p-140F}) {
      for (const size_t tokens : {1U, 64U, 200U}) {
        DecodeResults truth;
        const DecodeResults results =
            scored(std::vector<float>(tokens, score), 1.0F, dtype, options(), &truth);
        for (size_t i = 0; i < truth.out.size(); ++i) {
          ASSERT_NEAR(results.out[i], truth.out[i], 2e-3) << score;
        }
        EXPECT_NEAR(results.lse[0], truth.lse[0], 1e-4 * (1 + std::abs(truth.lse[0]))) << score;
      }
    }
  }
}

TEST_P(Contract, ScalesNearZeroAndZeroMeetNoOverflow) {
  for (const seesaw_dtype dtype : {SEESAW_BFLOAT16, SEESAW_FLOAT32}) {
    for (const float scale : {0.0F, 1e-39F, -1e-38F, 1e-37F, 1e-30F}) {
      DecodeResults truth;
      std::vector<float> keys(130, 2.5e38F);
      keys[7] = -1e38F;
      keys[100] = 1.0F;
      const DecodeResults results = scored(keys, scale, dtype, options(), &truth);
      for (size_t i = 0; i < truth.out.size(); ++i) {
        ASSERT_NEAR(results.out[i], truth.out[i], 2e-3) << scale;
      }
      EXPECT_NEAR(results.lse[0], truth.lse[0], 1e-4 * (1 + std::abs(truth.lse[0]))) << scale;
    }
  }
}

// q . k is beyond float, the score is not: q = 1e20, k = 1e19 and 5e18, scale 1e-39.
TEST_P(Contract, ProductsThatOverflowFloatAreScaledFirst) {
  DecodeCase test_case({.seq_lens = {2},
                        .h_q = 1,
                        .d_qk = 1,
                        .d_v = 1,
                        .q_dtype = SEESAW_FLOAT32,
                        .kv_dtype = SEESAW_FLOAT32,
                        .scale = 1e-39F});
  test_case.set_query(0, 0, 0, 0, 1e20F);
  test_case.set_key(0, 0, 0, 0, 1e19F);
  test_case.set_key(0, 1, 0, 0, 5e18F);
  const DecodeResults results = run_case(test_case, options());
  EXPECT_NEAR(results.out[0], 8.1123e18, 1e14);
  EXPECT_NEAR(results.lse[0], 1.47408, 1e-5);
}

TEST_P(Contract, SharpAndFlatSoftmax) {
  for (const float magnitude : {0.0F, 1.0F, 30.0F, 300.0F}) {
    for (const float scale : {0.0722F, 1.0F, -1.0F, 0.0F}) {
      expect_contract(
          {.seq_lens = {300, 65}, .h_q = 16, .scale = scale, .query_magnitude = magnitude});
    }
  }
}

// The greatest score comes last, and first, so that the running maximum moves at every tile, and
// never.
TEST_P(Contract, RisingAndFallingScores) {
  for (const bool rising : {true, false}) {
    const DecodeSpec spec{.seq_lens = {700}, .h_q = 4, .scale = 1.0F};
    DecodeCase test_case(spec);
    for (int64_t head = 0; head < 4; ++head) {
      test_case.set_query(0, 0, head, 575, 1.0F);
    }
    for (int64_t t = 0; t < 700; ++t) {
      const auto step = static_cast<float>(rising ? t : 699 - t);
      test_case.set_key(0, t, 0, 575, step * 0.25F - 80.0F);
    }
    testing::expect_contract(test_case, options());
  }
}

TEST_P(Contract, AServedBatchMayBeSmallerThanPlanned) {
  for (const bool invariant : {false, true}) {
    expect_contract(
        {.seq_lens = {100, 0, 65}, .h_q = 4, .batch_invariant = invariant, .planned_batch = 50});
  }
}

TEST_P(Contract, AnEmptyBatchIsNoError) {
  const DecodeResults results = run({.seq_lens = {}, .h_q = 4, .planned_batch = 3});
  EXPECT_TRUE(results.out.empty());
}

TEST_P(Contract, BatchInvariantModeIsAsAccurate) {
  expect_contract({.seq_lens = {2500, 3, 64, 0, 129},
                   .s_q = 2,
                   .h_q = 16,
                   .causal = 1,
                   .batch_invariant = true});
}

}  // namespace
}  // namespace seesaw::testing
