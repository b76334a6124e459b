// sm80.dense_decode with the device planner and the combine, against the double reference.
#include <gtest/gtest.h>

#include <string_view>

#include "any_conditions.hpp"
#include "dense_decode.hpp"

namespace seesaw::emulator {
namespace {

void expect_contract(const lab::DecodeSpec& spec, Shares shares = {}) {
  shares.core = Core::kSm80;
  const lab::DecodeCase test_case(spec);
  DecodeCall call(test_case, shares);
  ASSERT_EQ(call.run(), "") << lab::describe(spec);
  EXPECT_EQ(call.verdict(), "") << lab::describe(spec);
}

class Sm80 : public UnderAnyConditions {};
INSTANTIATE_TEST_SUITE_P(Emulated, Sm80, ::testing::ValuesIn(kConditionsOfCopies),
                         kNameOfConditions);

constexpr int64_t kPages[] = {1, 2, 3, 16, 32, 61, 64, 69, 128, 480};

// The shared memory of a thread block: what Ada, Ampere and Hopper give, and half of it.
constexpr int32_t kSharedBytes[] = {80 << 10, 99 << 10, 113 << 10, 163 << 10, 227 << 10};

TEST_P(Sm80, LengthsAroundATile) {
  for (const int32_t rows : {16, 32}) {
    expect_contract({.seq_lens = {1, 31, 32, 33, 65, 130}, .h_q = 16}, {.tile_rows = rows});
    expect_contract({.seq_lens = {129, 1, 64}, .h_q = 20}, {.tile_rows = rows});
  }
}

TEST_P(Sm80, AnyPageSize) {
  for (const int64_t page_size : kPages) {
    expect_contract({.seq_lens = {130, 70, 1}, .h_q = 8, .page_size = page_size},
                    {.num_workers = 2});
  }
}

// 256 columns of values in registers, or 512; fewer than these; no rotary columns, or others.
TEST_P(Sm80, AnyDimensions) {
  struct Dimensions {
    int64_t d_qk, d_v;
  };
  for (const auto& [d_qk, d_v] : {Dimensions{512, 512},
                                  {576, 512},
                                  {320, 256},
                                  {288, 256},
                                  {256, 256},
                                  {192, 128},
                                  {544, 512},
                                  {80, 64},
                                  {100, 72},
                                  {33, 17},
                                  {7, 5},
                                  {1, 1},
                                  {576, 300},
                                  {400, 400}}) {
    for (const seesaw_dtype dtype : {SEESAW_BFLOAT16, SEESAW_FLOAT16}) {
      expect_contract({.seq_lens = {75, 40},
                       .s_q = 2,
                       .h_q = 9,
                       .d_qk = d_qk,
                       .d_v = d_v,
                       .q_dtype = dtype,
                       .kv_dtype = dtype,
                       .causal = 1},
                      {.num_workers = 2});
    }
  }
}

TEST_P(Sm80, AnySharedMemory) {
  for (const int32_t bytes : kSharedBytes) {
    for (const int32_t rows : {16, 32}) {
      expect_contract({.seq_lens = {300, 0, 33, 129}, .s_q = 2, .h_q = 12, .causal = 1},
                      {.num_workers = 2, .tile_rows = rows, .shared_bytes = bytes});
    }
  }
}

TEST_P(Sm80, AnyFormat) {
  for (const CacheFormat& format : byte_formats()) {
    if (format.columns() < 512) continue;  // the indexer's keys
    for (const int64_t page_size : {64, 5}) {
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

TEST_P(Sm80, AnyFormatInAnySharedMemory) {
  for (const int32_t bytes : kSharedBytes) {
    for (const int32_t format : {SEESAW_FORMAT_FP8_656, SEESAW_FORMAT_FP4_288}) {
      lab::DecodeSpec spec = {.seq_lens = {300, 0, 33, 129}, .h_q = 20};
      spec.d_qk = cache_format(format, 0).columns();
      spec.kv_format = format;
      expect_contract(spec, {.num_workers = 2, .shared_bytes = bytes});
    }
  }
}

// A cache of another dtype is converted.
TEST_P(Sm80, CachesOfOtherDtypes) {
  for (const seesaw_dtype kv : {SEESAW_FLOAT32, SEESAW_FLOAT16, SEESAW_BFLOAT16}) {
    for (const seesaw_dtype q : {SEESAW_FLOAT16, SEESAW_BFLOAT16}) {
      expect_contract(
          {.seq_lens = {100, 45}, .h_q = 6, .page_size = 3, .q_dtype = q, .kv_dtype = kv});
    }
  }
}

// Rows that start on any byte, and lie apart.
TEST_P(Sm80, UnalignedRows) {
  for (const int64_t gap : {1, 2, 4, 8}) {
    expect_contract({.seq_lens = {70, 33},
                     .h_q = 6,
                     .page_size = 7,
                     .gaps = {.q = gap, .kv_token = gap, .kv_page = 3 * gap, .out = gap}},
                    {.num_workers = 2});
  }
}

// ---- masks, caps, sinks, ragged queries

TEST_P(Sm80, Windows) {
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

TEST_P(Sm80, TreeMasks) {
  expect_contract({.seq_lens = {130, 9, 70, 0}, .s_q = 9, .h_q = 5, .tree = true},
                  {.num_workers = 3});
  expect_contract({.seq_lens = {130, 64}, .s_q = 20, .h_q = 4, .causal = 1, .tree = true});
}

TEST_P(Sm80, SoftCapsSinksAndLargestLogits) {
  lab::DecodeSpec spec = {.seq_lens = {200, 0, 33}, .s_q = 2, .h_q = 6, .causal = 1};
  spec.soft_cap = 3.0F;
  expect_contract(spec, {.num_workers = 2});
  spec.sinks = {0.0F, 2.0F, -5.0F, INFINITY, -INFINITY, 30.0F};
  spec.max_logits = true;
  expect_contract(spec, {.num_workers = 2});
  spec.soft_cap = 0.0F;
  expect_contract(spec);
  expect_contract(spec, {.num_workers = 5});
}

TEST_P(Sm80, RaggedQueries) {
  lab::DecodeSpec spec = {.seq_lens = {130, 70, 0, 300}, .s_q = 7, .h_q = 6, .causal = 1};
  spec.query_lens = {1, 7, 0, 3};
  expect_contract(spec, {.num_workers = 3});
  spec.h_q = 20;
  spec.max_logits = true;
  spec.sinks = std::vector<float>(20, 1.0F);
  expect_contract(spec, {.num_workers = 3, .row_groups = 2});
}

// What `seesaw tune` tells settings apart by.
TEST(Sm80Plan, SaysWhatItsKnobsSet) {
  const lab::DecodeCase test_case({.seq_lens = {5}, .h_q = 4});
  for (const int32_t bytes : {99 << 10, 227 << 10}) {
    const DecodeCall call(test_case, {.core = Core::kSm80, .tile_rows = 32, .shared_bytes = bytes});
    const auto number = [&](std::string_view name) {
      for (const seesaw_number& each : call.plan().numbers) {
        if (each.name == name) return each.value;
      }
      return int64_t{-1};
    };
    EXPECT_EQ(number("shared_bytes"), bytes);
    EXPECT_EQ(number("tile_rows"), 32);
  }
}

}  // namespace
}  // namespace seesaw::emulator
