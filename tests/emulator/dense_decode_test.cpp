// Dense decoding by every core with the device planner and the combine, against the double
// reference on the same inputs. Slots, pages and table entries that nobody may use are poison
// (lab/decode_case.hpp).
#include "dense_decode.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "any_conditions.hpp"
#include "split/split_kv.hpp"
#include "support/adversaries.hpp"

namespace seesaw::emulator {
namespace {

void expect_contract(const lab::DecodeCase& test_case, const Shares& shares = {}) {
  DecodeCall call(test_case, shares);
  ASSERT_EQ(call.run(), "") << lab::describe(test_case.spec());
  EXPECT_EQ(call.verdict(), "") << lab::describe(test_case.spec());
}

void expect_contract(const lab::DecodeSpec& spec, const Shares& shares = {}) {
  expect_contract(lab::DecodeCase(spec), shares);
}

class DenseDecode : public OnAnyCore {};
INSTANTIATE_TEST_SUITE_P(Emulated, DenseDecode, kAnyCore, kNameOfCore);

// Groups of 16 and 64 heads are boxes of TMA, of 20 are copied row by row.
TEST_P(DenseDecode, LengthsAroundATile) {
  expect_contract({.seq_lens = {1, 63, 64, 65, 130}, .h_q = 64});
  expect_contract({.seq_lens = {129, 1, 64}, .h_q = 20});
}

TEST_P(DenseDecode, WithoutRotaryColumns) {
  expect_contract({.seq_lens = {200, 64, 3}, .h_q = 16, .d_qk = 512});
  expect_contract({.seq_lens = {200, 64, 3}, .h_q = 5, .d_qk = 512});
}

TEST_P(DenseDecode, Float16) {
  const lab::DecodeSpec spec = {
      .seq_lens = {180, 40}, .q_dtype = SEESAW_FLOAT16, .kv_dtype = SEESAW_FLOAT16};
  expect_contract(spec, {.num_workers = 2});
  lab::DecodeSpec without_rotary = spec;
  without_rotary.d_qk = 512;
  expect_contract(without_rotary, {.num_workers = 2});
}

// Rows that see different numbers of tokens, some of them none; two tiles of rows.
TEST_P(DenseDecode, CausalQueryTokens) {
  expect_contract({.seq_lens = {130, 2, 66}, .s_q = 4, .h_q = 16, .causal = 1});
  expect_contract({.seq_lens = {130, 2}, .s_q = 3, .h_q = 40, .causal = 1}, {.num_workers = 2});
}

TEST_P(DenseDecode, SplitSequences) {
  expect_contract({.seq_lens = {300, 0, 70, 517}, .h_q = 16}, {.num_workers = 4});
  expect_contract({.seq_lens = {700}, .h_q = 24}, {.num_workers = 6});
  expect_contract({.seq_lens = {300, 130, 0}, .h_q = 16, .batch_invariant = true},
                  {.num_workers = 3, .fixed_split_tiles = 2});
}

// Three tiles of query rows in two row groups: the last one has a tile without rows.
TEST_P(DenseDecode, RowGroups) {
  expect_contract({.seq_lens = {200, 0, 129}, .s_q = 3, .h_q = 64, .causal = 1},
                  {.num_workers = 3, .row_groups = 2});
}

TEST_P(DenseDecode, SeveralKvHeads) {
  expect_contract({.seq_lens = {150, 20}, .h_q = 32, .h_kv = 2}, {.num_workers = 2});
}

TEST_P(DenseDecode, EmptySequencesAndPieces) {
  expect_contract({.seq_lens = {0, 0, 64, 0}, .h_q = 16});
  expect_contract({.seq_lens = {0, 0}, .h_q = 6, .empty_lse = SEESAW_EMPTY_LSE_POSITIVE_INFINITY});
  expect_contract({.seq_lens = {1, 3, 0}, .s_q = 4, .h_q = 4, .causal = 1}, {.num_workers = 4});
}

TEST_P(DenseDecode, ManyPiecesOfAWorker) {
  expect_contract({.seq_lens = {64, 1, 200, 0, 130, 65, 256}, .h_q = 16});
  expect_contract({.seq_lens = {64, 1, 200, 0, 130, 65}, .h_q = 12});
}

TEST_P(DenseDecode, NegativeScale) {
  expect_contract({.seq_lens = {200}, .h_q = 16, .scale = -0.0722F});
}

// The maximum moves from tile to tile: the frame does, and probabilities are corrected.
TEST_P(DenseDecode, LargeScores) {
  expect_contract({.seq_lens = {400}, .h_q = 16, .query_magnitude = 40.0F}, {.num_workers = 2});
}

// Inputs made to break the bounds, and draws that a benchmark does not make. The order of the sums
// is the emulator's, the roundings are the kernel's. Under one condition: results are the same
// under all.
void expect_within_the_bounds(Core core) {
  double largest = 0;  // share of the bound
  for (const seesaw_dtype dtype : {SEESAW_BFLOAT16, SEESAW_FLOAT16}) {
    for (const int32_t workers : {1, 3}) {
      const Shares shares = {.num_workers = workers, .core = core};
      for (const testing::Adversary& adversary : testing::all_adversaries()) {
        SCOPED_TRACE(adversary.name);
        const lab::DecodeCase made = adversary.make(dtype);
        DecodeCall call(made, shares);
        ASSERT_EQ(call.run(), "");
        const lab::ErrorStatistics errors = call.errors();
        EXPECT_TRUE(errors.ok()) << errors.text();
        largest = std::max(largest, errors.out_of_bound.max());
      }
      for (const lab::NamedValues& named : lab::all_values()) {
        expect_contract({.seq_lens = {300, 65},
                         .s_q = 2,
                         .h_q = 5,
                         .q_dtype = dtype,
                         .kv_dtype = dtype,
                         .causal = 1,
                         .scale = 1.0F / 24,
                         .values = named.values},
                        shares);
      }
    }
  }
  EXPECT_GT(largest, 0.4);  // the bounds are not loose for the kernel either
}
TEST(Accuracy, AdversarialInputsStayWithinTheBoundsOfSm90) {
  expect_within_the_bounds(Core::kSm90);
}
TEST(Accuracy, AdversarialInputsStayWithinTheBoundsOfSm80) {
  expect_within_the_bounds(Core::kSm80);
}
TEST(Accuracy, AdversarialInputsStayWithinTheBoundsOfSm90Rows) {
  expect_within_the_bounds(Core::kRows);
}
TEST(Accuracy, AdversarialInputsStayWithinTheBoundsOfSm90Three) {
  expect_within_the_bounds(Core::kThree);
}
TEST(Accuracy, AdversarialInputsStayWithinTheBoundsOfSm90Swapped) {
  expect_within_the_bounds(Core::kSwapped);
}
TEST(Accuracy, AdversarialInputsStayWithinTheBoundsOfSm90Ring) {
  expect_within_the_bounds(Core::kRing);
}

// Strides that TMA does not take, of everything but the cache.
TEST_P(DenseDecode, OddStrides) {
  expect_contract(
      {.seq_lens = {100, 70},
       .s_q = 2,
       .h_q = 16,
       .lse_base = SEESAW_LSE_BASE2,
       .gaps =
           {.q = 3, .kv_token = 8, .kv_page = 16, .out = 5, .lse = 1, .table = 2, .lengths = 1}},
      {.num_workers = 3});
}

TEST_P(DenseDecode, LseOfTokensFirst) {
  expect_contract(
      {.seq_lens = {100, 200}, .s_q = 3, .h_q = 16, .gaps = {.lse = 2, .tokens_first = true}},
      {.num_workers = 3});
}

TEST_P(DenseDecode, PagesOfSeveralTiles) {
  expect_contract({.seq_lens = {300, 100}, .h_q = 16, .page_size = 192}, {.num_workers = 2});
}

TEST_P(DenseDecode, FewerSequencesThanPlanned) {
  expect_contract({.seq_lens = {100}, .h_q = 16, .planned_batch = 5}, {.num_workers = 3});
}

// A NaN in the last token, which only the last query token sees: its rows are NaN, no others.
TEST_P(DenseDecode, NanThatSomeRowsSee) {
  lab::DecodeCase test_case({.seq_lens = {100}, .s_q = 4, .h_q = 16, .causal = 1});
  test_case.set_key(0, 99, 0, 300, NAN);
  DecodeCall call(test_case, {});
  ASSERT_EQ(call.run(), "");
  EXPECT_EQ(call.verdict(), "");
  EXPECT_TRUE(std::isnan(call.results().out.back()));
  EXPECT_FALSE(std::isnan(call.results().out.front()));
}

// The device planner's bytes are the host planner's.
TEST_P(DenseDecode, Schedule) {
  const lab::DecodeCase test_case({.seq_lens = {300, 0, 70, 517}, .h_q = 16});
  DecodeCall call(test_case, {.num_workers = 4, .piece_cost_tiles = 1});
  ASSERT_EQ(call.prepare(), "");
  const split::SplitConfig& config = call.plan().split;
  std::vector<unsigned char> wanted(split::schedule_bytes(config), 0xFF);
  split::build_schedule(config,
                        split::lengths_of(static_cast<const int32_t*>(call.args().seq_lens.data), 1,
                                          call.plan().problem.max_tokens()),
                        4, wanted.data());
  EXPECT_EQ(std::memcmp(wanted.data(), call.schedule(), wanted.size()), 0);
}

}  // namespace
}  // namespace seesaw::emulator
