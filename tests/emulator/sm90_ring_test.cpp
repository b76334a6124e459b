// sm90.dense_decode.ring with the device planner and the combine, against the double reference:
// what sm90.dense_decode has not, and what its ring might get wrong. The rest:
// dense_decode_test.cpp.
#include <gtest/gtest.h>

#include "any_conditions.hpp"
#include "attention/sm90/attention.hpp"
#include "dense_decode.hpp"
#include "ops/dense_decode/attention.hpp"
#include "ops/dense_decode/operation.hpp"

namespace seesaw::emulator {
namespace {

void expect_contract(const lab::DecodeSpec& spec, Shares shares = {}) {
  shares.core = Core::kRing;
  const lab::DecodeCase test_case(spec);
  DecodeCall call(test_case, shares);
  ASSERT_EQ(call.run(), "") << lab::describe(spec);
  EXPECT_EQ(call.verdict(), "") << lab::describe(spec);
}

class Sm90Ring : public UnderAnyConditions {};
INSTANTIATE_TEST_SUITE_P(Emulated, Sm90Ring, ::testing::ValuesIn(kAnyConditions),
                         [](const auto& test) { return name_of(test.param); });

// A tile's halves lie in every place of the ring, and of every parity; both types and widths. Slots
// behind a length are NaN.
TEST_P(Sm90Ring, EveryPlaceOfTheRing) {
  for (const seesaw_dtype dtype : {SEESAW_BFLOAT16, SEESAW_FLOAT16}) {
    for (const int64_t d_qk : {576, 512}) {
      lab::DecodeSpec spec = {.seq_lens = {1, 65, 447, 128, 0, 321, 63, 833}, .h_q = 16};
      spec.q_dtype = spec.kv_dtype = dtype;
      spec.d_qk = d_qk;
      expect_contract(spec);
      spec.h_q = 8;
      expect_contract(spec, {.num_workers = 3});
    }
  }
}

TEST_P(Sm90Ring, PagesOfSeveralTiles) {
  for (const int64_t page_size : {64, 128, 320, 1024}) {
    expect_contract({.seq_lens = {500, 70, 1}, .h_q = 16, .page_size = page_size},
                    {.num_workers = 2});
  }
}

TEST_P(Sm90Ring, Windows) {
  for (const int64_t window : {1, 30, 64, 200}) {
    expect_contract(
        {.seq_lens = {700, 0, 40, 129}, .s_q = 3, .h_q = 5, .causal = 1, .window = window},
        {.num_workers = 3});
    expect_contract(
        {.seq_lens = {300, 65}, .s_q = 2, .h_q = 8, .page_size = 128, .window = window});
  }
}

TEST_P(Sm90Ring, SinksAndLargestLogits) {
  lab::DecodeSpec spec = {.seq_lens = {200, 0, 33}, .s_q = 2, .h_q = 6, .causal = 1};
  spec.sinks = {0.0F, 2.0F, -5.0F, INFINITY, -INFINITY, 30.0F};
  spec.max_logits = true;
  expect_contract(spec);
  expect_contract(spec, {.num_workers = 5});
}

TEST_P(Sm90Ring, RaggedQueries) {
  lab::DecodeSpec spec = {.seq_lens = {130, 70, 0, 300}, .s_q = 7, .h_q = 2, .causal = 1};
  spec.query_lens = {1, 7, 0, 3};
  expect_contract(spec, {.num_workers = 3});
}

TEST_P(Sm90Ring, RowsAndPagesApart) {
  expect_contract(
      {.seq_lens = {70, 333}, .h_q = 6, .gaps = {.q = 1, .kv_token = 8, .kv_page = 24, .out = 1}},
      {.num_workers = 2});
}

// ---- where it runs

TEST(Sm90RingChoice, PagesOfWholeTilesOfTheQueriesTypeAndManyTiles) {
  const auto reason = [](int32_t format, int64_t page_size, const char* kernel, int32_t length = 70,
                         int32_t heads = 16, bool batch_invariant = false) {
    lab::DecodeSpec spec = {.seq_lens = {length}, .h_q = heads, .page_size = page_size};
    spec.kv_format = format;
    dense_decode::DenseDecodeProblem problem;
    static_cast<seesaw_dense_decode_problem&>(problem) = lab::DecodeCase(spec).problem();
    EXPECT_TRUE(dense_decode::complete(&problem).ok());
    Options options;
    options.device = {SEESAW_CUDA, 0};
    options.kernel = kernel;
    options.batch_invariant = batch_invariant;
    return attention::sm90::supports_ring(dense_decode::attention_of(problem), options).reason;
  };
  constexpr const char* kName = "sm90.dense_decode.ring";
  EXPECT_EQ(reason(SEESAW_BFLOAT16, 64, kName), "");
  EXPECT_EQ(reason(SEESAW_BFLOAT16, 192, kName), "");
  EXPECT_NE(reason(SEESAW_BFLOAT16, 64, "").find("3 tiles"), std::string::npos);
  EXPECT_EQ(reason(SEESAW_BFLOAT16, 64, "", 64 * 400), "");
  EXPECT_NE(reason(SEESAW_BFLOAT16, 64, "", 64 * 398), "");
  EXPECT_NE(reason(SEESAW_BFLOAT16, 64, "", 64 * 400, 32).find("32 query rows"), std::string::npos);
  // The batch must not choose the kernel, whose bits are its own.
  EXPECT_NE(reason(SEESAW_BFLOAT16, 64, "", 64 * 400, 16, true).find("batch_invariant"),
            std::string::npos);
  EXPECT_EQ(reason(SEESAW_BFLOAT16, 64, kName, 64 * 400, 16, true), "");
  EXPECT_NE(reason(SEESAW_BFLOAT16, 96, kName).find("page_size = 96"), std::string::npos);
  EXPECT_NE(reason(SEESAW_FORMAT_FP8_656, 64, kName).find("fp8_656"), std::string::npos);
}

}  // namespace
}  // namespace seesaw::emulator
