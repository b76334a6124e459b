// The traced variants: the same bits as a run, and marks that make sense.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "any_conditions.hpp"
#include "core/trace.hpp"
#include "dense_decode.hpp"

namespace seesaw::emulator {
namespace {

class Traced : public OnAnyCore {};
INSTANTIATE_TEST_SUITE_P(Emulated, Traced, kAnyCore, kNameOfCore);

std::set<std::string_view> steps_of(const Trace& trace) {
  std::set<std::string_view> steps;
  for (const TraceSpan& span : trace.spans) steps.insert(span.step);
  return steps;
}

// Of one lane one after the other, of pieces that there are.
void expect_ordered(const Trace& trace, int64_t sequences) {
  for (size_t i = 0; i < trace.spans.size(); ++i) {
    const TraceSpan& span = trace.spans[i];
    EXPECT_LE(span.begin_us, span.end_us) << span.step;
    EXPECT_LT(span.sequence, sequences) << span.step;
    const bool same_lane = i > 0 && span.worker >= 0 && span.worker == trace.spans[i - 1].worker &&
                           span.part == trace.spans[i - 1].part;
    if (same_lane) {
      EXPECT_LE(trace.spans[i - 1].end_us, span.begin_us + 1e-9) << span.step;
    }
  }
}

// Of kernels that note single tiles.
std::vector<const char*> steps_of_tiles(Core core) {
  if (core == Core::kThree) {
    return {"score", "softmax", "wait for the other's softmax", "wait for its turn",
            "multiply the other's"};
  }
  if (core == Core::kRing) return {"score", "softmax", "multiply"};
  if (core != Core::kRows && core != Core::kSwapped) return {};
  return {"score",
          "softmax",
          "multiply",
          "wait for room",
          "ask for rows",
          "wait for rows",
          "convert and announce",
          "find rows"};
}

void expect_traced(const lab::DecodeSpec& spec, const Shares& shares) {
  SCOPED_TRACE(describe(spec));
  const lab::DecodeCase test_case(spec);
  DecodeCall call(test_case, shares);
  ASSERT_EQ(call.run(), "");
  const lab::ResultsOf<double> expected = call.results();
  Trace trace;
  ASSERT_EQ(call.trace(&trace), "");
  EXPECT_EQ(call.results().out, expected.out);
  EXPECT_EQ(call.results().lse, expected.lse);
  EXPECT_EQ(trace.dropped, 0U);
  expect_ordered(trace, spec.batch());
  const std::set<std::string_view> steps = steps_of(trace);
  for (const char* step : {"launch", "start", "query copy", "first tile", "first pair", "steady",
                           "epilogue", "combine"}) {
    EXPECT_TRUE(steps.contains(step)) << step;
  }
  for (const char* step : steps_of_tiles(shares.core)) EXPECT_TRUE(steps.contains(step)) << step;
  std::set<int32_t> sequences;
  for (const TraceSpan& span : trace.spans) sequences.insert(span.sequence);
  for (int32_t i = 0; i < spec.batch(); ++i) {
    EXPECT_TRUE(spec.length(i) == 0 || sequences.contains(i)) << i;
  }
}

TEST_P(Traced, SplitAndWholeSequences) {
  expect_traced({.seq_lens = {700, 90, 0, 300}, .s_q = 2, .h_q = 12, .causal = 1},
                {.num_workers = 3});
}

TEST_P(Traced, SeveralRowTiles) {
  expect_traced({.seq_lens = {400}, .s_q = 1, .h_q = 130}, {.num_workers = 2});
}

// Pieces behind those that there is room for are run, and counted.
TEST_P(Traced, MorePiecesThanAreNoted) {
  const lab::DecodeSpec spec{.seq_lens = std::vector<int32_t>(40, 5), .h_q = 4};
  const lab::DecodeCase test_case(spec);
  DecodeCall call(test_case, {.num_workers = 1});
  ASSERT_EQ(call.prepare(), "");
  Trace trace;
  ASSERT_EQ(call.trace(&trace), "");
  EXPECT_EQ(call.verdict(), "");
  EXPECT_EQ(trace.dropped, 8U);
}

TEST_P(Traced, OtherDtypesAreRefusedInWords) {
  const lab::DecodeCase test_case(
      {.seq_lens = {5}, .h_q = 4, .q_dtype = SEESAW_FLOAT16, .kv_dtype = SEESAW_FLOAT16});
  DecodeCall call(test_case, {});
  ASSERT_EQ(call.run(), "");
  Trace trace;
  const std::string refusal = call.trace(&trace);
  EXPECT_NE(refusal.find("float16"), std::string::npos) << refusal;
  EXPECT_NE(refusal.find("bfloat16"), std::string::npos) << refusal;
}

// Records that the cores convert.
TEST(TracedRecords, OfE4M3) {
  const UnderConditions here(kConditionsOfCopies.front());
  for (const Core core : {Core::kSm80, Core::kRows, Core::kSwapped}) {
    for (const int64_t heads : {4, 40}) {
      lab::DecodeSpec spec{.seq_lens = {300, 70}, .h_q = heads};
      spec.kv_format = SEESAW_FORMAT_FP8_656;
      expect_traced(spec, {.num_workers = 2, .core = core});
    }
  }
}

}  // namespace
}  // namespace seesaw::emulator
