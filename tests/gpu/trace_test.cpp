// The traced variant: the same bits as a run, and marks that make sense.
#include <gtest/gtest.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "dense_case.hpp"

namespace seesaw::gpu_test {
namespace {

constexpr const char* kTracedKernels[] = {"sm90.dense_decode.bf16", "sm90.dense_decode.three",
                                          "sm90.dense_decode.rows", "sm90.dense_decode.swapped",
                                          "sm90.dense_decode.ring", "sm80.dense_decode"};

void expect_same_bits_and_ordered_spans(const DenseCase& c, const char* kernel) {
  SCOPED_TRACE(c.name() + " by " + kernel);
  DenseRun run;
  run.prepare(c);
  run.plan(kernel);
  run.schedule();
  run.poison_results();
  run.run();
  EXPECT_EQ(verdict(c, run.compare()), "");
  const std::vector<uint16_t> expected = run.out_bits();
  run.poison_results();
  const std::vector<seesaw_trace_span> spans =
      run.decode().trace(run.tensors(), run.call(), size_t{1} << 20);
  EXPECT_EQ(run.out_bits(), expected);
  ASSERT_FALSE(spans.empty());
  for (size_t i = 0; i < spans.size(); ++i) {
    EXPECT_LE(spans[i].begin_us, spans[i].end_us) << spans[i].step;
    const bool same_lane =
        i > 0 && spans[i - 1].worker == spans[i].worker && spans[i - 1].part == spans[i].part;
    if (same_lane && spans[i].worker >= 0) {
      EXPECT_LE(spans[i - 1].end_us, spans[i].begin_us + 1e-6) << spans[i].step;
    }
  }
  const auto has = [&](std::string_view step) {
    return std::any_of(spans.begin(), spans.end(),
                       [&](const seesaw_trace_span& span) { return span.step == step; });
  };
  for (const char* step : {"launch", "start", "first tile", "first pair", "epilogue", "combine"}) {
    EXPECT_TRUE(has(step)) << step;
  }
}

TEST(Trace, OneLongSequence) {
  for (const char* kernel : kTracedKernels) {
    expect_same_bits_and_ordered_spans({.s_k = 30000}, kernel);
  }
}

TEST(Trace, ManyPiecesAWorkerAndEmptySequences) {
  for (const char* kernel : kTracedKernels) {
    expect_same_bits_and_ordered_spans(
        {.b = 300, .s_q = 2, .s_k = 700, .h_q = 128, .lengths = Lengths::kVaried, .flags = kCausal},
        kernel);
  }
}

TEST(Trace, OtherDtypesAreRefusedInWords) {
  DenseCase c;
  c.s_k = 100;
  c.element = Element::kFloat16;
  DenseRun run;
  run.prepare(c);
  run.plan();
  run.schedule();
  try {
    run.decode().trace(run.tensors(), run.call(), 16);
    FAIL() << "traced";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), SEESAW_NOT_SUPPORTED) << error.what();
  }
}

}  // namespace
}  // namespace seesaw::gpu_test
