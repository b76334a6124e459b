// Dense decoding by every core at the edges: scores to the ends of float, infinite values, scales
// near 0, and schedules that are not the call's.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "any_conditions.hpp"
#include "dense_decode.hpp"
#include "split/split_kv.hpp"

namespace seesaw::emulator {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class Edges : public OnAnyCore {};
INSTANTIATE_TEST_SUITE_P(Emulated, Edges, kAnyCore, kNameOfCore);

// Queries that read the last column alone, times `query`, and keys that have given numbers there: a
// score is scale * query * key.
lab::DecodeCase scored(const std::vector<float>& keys, float query, lab::DecodeSpec spec) {
  spec.seq_lens = {static_cast<int32_t>(keys.size())};
  spec.query_magnitude = 0.0F;
  lab::DecodeCase test_case(spec);
  const int64_t last = spec.d_qk - 1;
  for (int64_t t = 0; t < spec.seq_lens[0]; ++t) {
    test_case.set_key(0, t, 0, last, keys[static_cast<size_t>(t)]);
  }
  for (int64_t head = 0; head < spec.h_q; ++head) test_case.set_query(0, 0, head, last, query);
  return test_case;
}

// Scores here are exact, so that results are held against the bound of ordinary ones: the
// contract's, which allows for scores that are rounded, allows anything of scores as large as
// these.
std::string verdict(const DecodeCall& call) {
  const dense_decode::DenseDecodeProblem& p = call.plan().problem;
  const lab::ResultShape shape = {p.s_q, p.h_q, p.d_v};
  const lab::ResultsOf<double> truth = call.reference();
  const lab::ErrorStatistics errors =
      lab::compare<double>(call.results(), truth, lab::flash_mla_suite(truth, shape), shape);
  return errors.ok() ? "" : errors.text();
}

void expect_right(const lab::DecodeCase& test_case, const Shares& shares = {}) {
  DecodeCall call(test_case, shares);
  ASSERT_EQ(call.run(), "");
  EXPECT_EQ(verdict(call), "");
}

TEST_P(Edges, ScoresAtTheEndsOfFloatAreScores) {
  for (const float score : {-1e38F, 1e38F, -2e38F, 2e38F}) {
    expect_right(scored(std::vector<float>(140, score), 1.0F, {.h_q = 2, .scale = 1.0F}));
  }
  // One key far above the others, in the first tile, the second, and another split.
  for (const size_t top : {3, 70, 190}) {
    std::vector<float> keys(200, -2e38F);
    keys[top] = 1e38F;
    expect_right(scored(keys, 1.0F, {.h_q = 2, .scale = 1.0F}), {.num_workers = 2});
  }
}

// Probabilities of fp16 end at 65504, so their exponents may not carry a frame's rounding.
TEST_P(Edges, LargeScoresOfFloat16) {
  std::vector<float> keys(130, 60000.0F);
  keys[100] = 59968.0F;
  for (float query = 40000.0F; query < 65000.0F; query += 3008.0F) {
    lab::DecodeSpec spec = {.h_q = 2, .scale = 1.0F / 3.0F};
    spec.q_dtype = spec.kv_dtype = SEESAW_FLOAT16;
    expect_right(scored(keys, query, spec));
  }
}

TEST_P(Edges, ScalesNearZeroAndZeroMeetNoOverflow) {
  for (const float scale : {0.0F, 1e-45F, 1e-39F, -1e-38F, 1e-37F, -1e-30F, 1e-6F}) {
    std::vector<float> keys(130, scale > 1e-10F ? 2e6F : 2.5e38F);
    keys[7] = -keys[7];
    keys[100] = 1.0F;
    expect_right(scored(keys, 1.0F, {.h_q = 2, .scale = scale}));
  }
}

// q . k is beyond float, the score is not.
TEST_P(Edges, ProductsThatOverflowFloatAreScaledFirst) {
  std::vector<float> keys(70, 1e19F);
  keys[3] = 1.01e19F;
  expect_right(scored(keys, 1e20F, {.h_q = 2, .scale = 1e-38F}));
}

// A column in which a row sees an infinite value is NaN, and no other: whether all rows see it, or
// some (causal), in whichever tile, split or not, on either half of the output.
TEST_P(Edges, InfiniteValuesShowInTheirColumn) {
  for (const int32_t length : {64, 128, 200}) {
    for (const int64_t column : {0, 300, 511}) {
      lab::DecodeCase test_case(
          {.seq_lens = {length}, .s_q = 3, .h_q = 4, .causal = 1, .query_magnitude = 0.0F});
      const int64_t token = length - 2;  // query tokens 1 and 2 see it
      test_case.set_key(0, token, 0, column, -kInfinity);
      for (int64_t i = 0; i < 12; ++i) test_case.set_query(0, i / 4, i % 4, column, 1.0F);
      for (const int workers : {1, 3}) {
        DecodeCall call(test_case, {.num_workers = workers});
        ASSERT_EQ(call.run(), "");
        EXPECT_EQ(verdict(call), "") << length << ", column " << column;
        const std::vector<double> out = call.results().out;
        for (size_t row = 0; row < 12; ++row) {
          for (size_t c = 0; c < 512; ++c) {
            ASSERT_EQ(std::isnan(out[row * 512 + c]), row >= 4 && c == static_cast<size_t>(column))
                << length << ", row " << row << ", column " << c;
          }
        }
      }
    }
  }
}

// Where all scores are -inf there is nothing to attend, whatever the values.
TEST_P(Edges, RowsOfNothingButMinusInfinityAreEmpty) {
  for (const int32_t length : {1, 64, 150}) {
    lab::DecodeCase test_case(
        {.seq_lens = {length}, .s_q = 2, .h_q = 4, .causal = 1, .query_magnitude = 0.0F});
    for (int64_t t = 0; t < length; ++t) test_case.set_key(0, t, 0, 40, -kInfinity);
    for (int64_t i = 0; i < 8; ++i) test_case.set_query(0, i / 4, i % 4, 40, 1.0F);
    expect_right(test_case);
    expect_right(test_case, {.num_workers = 2});
  }
}

// ---- schedules

bool all_nan(const std::vector<double>& values) {
  for (const double value : values) {
    if (!std::isnan(value)) return false;
  }
  return true;
}

bool contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

// Nothing of it is followed, the outputs are NaN, and the next call says so, once.
void expect_foreign(DecodeCall& call) {
  ASSERT_EQ(call.attend(), "");
  EXPECT_TRUE(all_nan(call.results().out));
  EXPECT_TRUE(all_nan(call.results().lse));
  EXPECT_TRUE(contains(call.prepare(), "a schedule that its plan did not make"));
  EXPECT_EQ(call.run(), "");
  EXPECT_EQ(verdict(call), "");
}

TEST_P(Edges, AScheduleOfZerosIsRefused) {
  const lab::DecodeCase test_case({.seq_lens = {200, 70}, .s_q = 2, .h_q = 6});
  DecodeCall call(test_case, {.num_workers = 3});
  std::memset(call.schedule(), 0, call.plan().schedule_bytes);
  expect_foreign(call);
}

TEST_P(Edges, AScheduleOfAnotherPlanIsRefused) {
  const lab::DecodeCase test_case({.seq_lens = {200, 70}, .h_q = 16});
  DecodeCall other(test_case, {.num_workers = 7});
  ASSERT_EQ(other.prepare(), "");
  DecodeCall call(test_case, {.num_workers = 3});
  std::memcpy(call.schedule(), other.schedule(), call.plan().schedule_bytes);
  expect_foreign(call);
}

TEST_P(Edges, AScheduleForFewerSequencesIsRefused) {
  const lab::DecodeCase fewer({.seq_lens = {200}, .h_q = 16, .planned_batch = 2});
  const lab::DecodeCase test_case({.seq_lens = {200, 70}, .h_q = 16});
  DecodeCall other(fewer, {.num_workers = 3});
  ASSERT_EQ(other.prepare(), "");
  DecodeCall call(test_case, {.num_workers = 3});
  std::memcpy(call.schedule(), other.schedule(), call.plan().schedule_bytes);
  expect_foreign(call);
}

// The sequence whose length has changed by a tile or more is NaN, the others are right. Within a
// tile the schedule is the same.
TEST_P(Edges, AScheduleOfOtherLengthsIsFound) {
  for (const int32_t length : {1, 64, 191, 193, 320, 0}) {
    lab::DecodeCase planned({.seq_lens = {150, 200, 70}, .h_q = 16, .table_pages = 5});
    lab::DecodeCase changed({.seq_lens = {150, length, 70}, .h_q = 16, .table_pages = 5});
    DecodeCall first(planned, {.num_workers = 3});
    ASSERT_EQ(first.prepare(), "");
    DecodeCall call(changed, {.num_workers = 3});
    std::memcpy(call.schedule(), first.schedule(), call.plan().schedule_bytes);
    ASSERT_EQ(call.attend(), "");
    const int32_t tile_tokens = call.plan().split.tile_tokens;
    const bool stale = split::tiles_of(length, tile_tokens) != split::tiles_of(200, tile_tokens);
    const lab::ResultsOf<double> results = call.results();
    const lab::ResultsOf<double> truth = call.reference();
    for (size_t head = 0; head < 48; ++head) {
      const bool nan = stale && head / 16 == 1;
      EXPECT_EQ(std::isnan(results.lse[head]), nan) << length << ", row " << head;
      EXPECT_EQ(std::isnan(results.out[head * 512 + 5]), nan) << length << ", row " << head;
      if (!nan) {
        EXPECT_NEAR(results.out[head * 512 + 5], truth.out[head * 512 + 5], 0.02);
      }
    }
    EXPECT_EQ(contains(call.prepare(), "a schedule made for other lengths"), stale) << length;
    EXPECT_EQ(call.run(), "");
    EXPECT_EQ(verdict(call), "");
  }
}

void expect_part(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text;
}

// The first offender by check_data, on every core; of those that have windows with one, too.
TEST_P(Edges, CheckDataNamesTheFirstOffender) {
  lab::DecodeSpec spec{.seq_lens = {300, 0, 129}, .s_q = 2, .h_q = 4, .causal = 1};
  spec.window = default_core == Core::kSm80 ? 40 : 0;
  lab::DecodeCase test_case(spec);
  DecodeCall call(test_case, {.num_workers = 3, .check_data = true});
  EXPECT_EQ(call.run(), "");
  EXPECT_EQ(call.verdict(), "");
  test_case.set_length(0, 20);  // fewer tiles than were scheduled
  expect_part(call.attend(), "of the schedule");
  test_case.set_length(0, 300);
  test_case.set_block_table(2, 2, -7);  // the third page of 129 tokens
  expect_part(call.attend(), "block_table[2, 2] = -7");
  test_case.set_length(1, -1);
  expect_part(call.prepare(), "seq_lens[1] = -1");
}

}  // namespace
}  // namespace seesaw::emulator
