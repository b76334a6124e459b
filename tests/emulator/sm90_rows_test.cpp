// sm90.dense_decode.rows and .swapped with the device planner and the combine, against the double
// reference: what sm90.dense_decode has not, any page size, formats, windows, sinks, ragged
// queries.
#include <gtest/gtest.h>

#include "any_conditions.hpp"
#include "attention/sm90/attention.hpp"
#include "attention/sm90/records.hpp"
#include "dense_decode.hpp"
#include "ops/dense_decode/attention.hpp"
#include "ops/dense_decode/operation.hpp"

namespace seesaw::emulator {
namespace {

void expect_contract(const lab::DecodeSpec& spec, const Shares& shares = {}) {
  const lab::DecodeCase test_case(spec);
  DecodeCall call(test_case, shares);
  ASSERT_EQ(call.run(), "") << lab::describe(spec);
  EXPECT_EQ(call.verdict(), "") << lab::describe(spec);
}

class Sm90Rows : public OnAnyCore {};
INSTANTIATE_TEST_SUITE_P(Emulated, Sm90Rows,
                         ::testing::Combine(::testing::Values(Core::kRows, Core::kSwapped),
                                            ::testing::ValuesIn(kAnyConditions)),
                         kNameOfCore);

TEST_P(Sm90Rows, AnyPageSize) {
  for (const int64_t page_size : {1, 2, 3, 16, 61, 64, 69, 480}) {
    expect_contract({.seq_lens = {130, 70, 1}, .h_q = 8, .page_size = page_size},
                    {.num_workers = 2});
  }
}

TEST_P(Sm90Rows, AnyFormat) {
  for (const CacheFormat& format : byte_formats()) {
    const bool narrow = format.latent.type == ElementType::kFloat8E4M3 && format.columns() >= 512;
    for (const int64_t page_size : {64, 12}) {
      if (!narrow) continue;
      lab::DecodeSpec spec = {.seq_lens = {200, 0, 37}, .s_q = 2, .h_q = 9, .causal = 1};
      spec.d_qk = format.columns();
      spec.page_size = page_size;
      spec.kv_format = format.id;
      spec.kv_scale = format.tensor_scale ? 0.37F : 1.0F;
      spec.scale_rule = SEESAW_SCALES_POWER_OF_TWO;
      expect_contract(spec, {.num_workers = 2});
    }
  }
}

// Queries that start on any byte; the cache's rows lie apart, by whole chunks.
TEST_P(Sm90Rows, RowsApart) {
  for (const int64_t gap : {1, 2, 8}) {
    expect_contract({.seq_lens = {70, 33},
                     .h_q = 6,
                     .page_size = 7,
                     .gaps = {.q = gap, .kv_token = 8, .kv_page = 24, .out = gap}},
                    {.num_workers = 2});
  }
}

TEST_P(Sm90Rows, Windows) {
  for (const int64_t window : {1, 30, 64, 200}) {
    expect_contract({.seq_lens = {300, 0, 40, 129},
                     .s_q = 3,
                     .h_q = 9,
                     .page_size = 16,
                     .causal = 1,
                     .window = window},
                    {.num_workers = 3});
    expect_contract({.seq_lens = {300, 65}, .s_q = 2, .h_q = 9, .window = window});
  }
}

TEST_P(Sm90Rows, SinksAndLargestLogits) {
  lab::DecodeSpec spec = {.seq_lens = {200, 0, 33}, .s_q = 2, .h_q = 6, .causal = 1};
  spec.sinks = {0.0F, 2.0F, -5.0F, INFINITY, -INFINITY, 30.0F};
  spec.max_logits = true;
  expect_contract(spec);
  expect_contract(spec, {.num_workers = 5});
}

TEST_P(Sm90Rows, RaggedQueries) {
  lab::DecodeSpec spec = {.seq_lens = {130, 70, 0, 300}, .s_q = 7, .h_q = 6, .causal = 1};
  spec.query_lens = {1, 7, 0, 3};
  expect_contract(spec, {.num_workers = 3});
  spec.h_q = 20;
  spec.max_logits = true;
  spec.sinks = std::vector<float>(20, 1.0F);
  expect_contract(spec, {.num_workers = 3, .row_groups = 2});
}

// ---- which of the two is chosen

TEST(Sm90Choice, OperandsAreSwappedForFewRowsOfE4m3) {
  const auto reason = [](int32_t format, int64_t heads, int64_t s_q, const char* kernel) {
    lab::DecodeSpec spec = {.seq_lens = {70}, .s_q = s_q, .h_q = heads};
    spec.kv_format = format;
    dense_decode::DenseDecodeProblem problem;
    static_cast<seesaw_dense_decode_problem&>(problem) = lab::DecodeCase(spec).problem();
    EXPECT_TRUE(dense_decode::complete(&problem).ok());
    Options options;
    options.device = {SEESAW_CUDA, 0};
    options.kernel = kernel;
    return attention::sm90::supports_swapped(dense_decode::attention_of(problem), options).reason;
  };
  EXPECT_EQ(reason(SEESAW_FORMAT_FP8_656, 16, 1, ""), "");
  EXPECT_EQ(reason(SEESAW_FORMAT_FP8_656, 8, 2, ""), "");
  EXPECT_NE(reason(SEESAW_FORMAT_FP8_656, 16, 2, "").find("32 query rows"), std::string::npos);
  EXPECT_NE(reason(SEESAW_BFLOAT16, 16, 1, "").find("bfloat16"), std::string::npos);
  EXPECT_EQ(reason(SEESAW_BFLOAT16, 16, 2, "sm90.dense_decode.swapped"), "");
}

// ---- what the host finds out for the producers

TEST(Sm90Records, NumbersTheRowsOfCachesBeyond64GiB) {
  attention::Stream stream;
  stream.pages = int64_t{1} << 22;  // 176 GB
  stream.row_stride_bytes = 656;
  stream.page_stride_bytes = 64 * 656;
  const auto numbers = attention::sm90::row_numbers_of(stream, 1);
  ASSERT_TRUE(numbers.has_value());
  EXPECT_EQ(numbers->unit_bytes, 656u);
  EXPECT_EQ(numbers->page, 64u);
  EXPECT_EQ(numbers->row, 1u);
  // Layers that share a page, and heads: the unit divides every stride.
  stream.pages = 1000;
  stream.page_stride_bytes = 61 * 64 * 1152 + 16;
  stream.row_stride_bytes = 1152;
  stream.head_stride_bytes = 64 * 1152;
  ASSERT_TRUE(attention::sm90::row_numbers_of(stream, 2).has_value());
  EXPECT_EQ(attention::sm90::row_numbers_of(stream, 2)->unit_bytes, 16u);
  stream.pages = 100000;
  EXPECT_FALSE(attention::sm90::row_numbers_of(stream, 2).has_value());
}

TEST(Sm90Records, CutsRecordsOfE4m3IntoBoxes) {
  struct Expected {
    int32_t format;
    int32_t narrow;
  };
  for (const auto& [format, narrow] : {Expected{SEESAW_FORMAT_FP8_656, 8},
                                       {SEESAW_FORMAT_FP8_584, 7},
                                       {SEESAW_FORMAT_FP8_576, 9},
                                       {SEESAW_FORMAT_FP8_576_TOKEN, 9},
                                       {SEESAW_FORMAT_FP8_528, 8}}) {
    const auto boxes = attention::sm90::boxes_of(cache_format(format, 0));
    ASSERT_TRUE(boxes.has_value());
    EXPECT_EQ(boxes->narrow, narrow);
  }
  for (const int32_t format : {SEESAW_FORMAT_FP4_288, SEESAW_FORMAT_INT8_644}) {
    EXPECT_FALSE(attention::sm90::boxes_of(cache_format(format, 0)).has_value());
  }
}

}  // namespace
}  // namespace seesaw::emulator
