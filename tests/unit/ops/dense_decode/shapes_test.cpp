// Every shape, stride and dtype that the contract allows: one dimension at a time, then random
// combinations of all.
#include <iterator>
#include <random>

#include "unit/ops/dense_decode/kernel_test.hpp"

namespace seesaw::testing {
namespace {

class Shapes : public KernelTest {};

INSTANTIATE_TEST_SUITE_P(Kernels, Shapes, every_kernel(), kernel_name);

TEST_P(Shapes, QueryHeads) {
  for (const int64_t h_q : {1, 3, 7, 9, 16, 63, 64, 127, 128}) {
    expect_contract({.seq_lens = {65, 130}, .h_q = h_q});
  }
}

TEST_P(Shapes, KvHeads) {
  for (const int64_t h_kv : {1, 2, 3}) {
    for (const int64_t group : {1, 4, 17}) {
      expect_contract(
          {.seq_lens = {65, 3}, .s_q = 2, .h_q = group * h_kv, .h_kv = h_kv, .causal = 1});
    }
  }
}

TEST_P(Shapes, PageSizes) {
  for (const int64_t page_size : {1, 2, 3, 16, 61, 64, 480}) {
    expect_contract({.seq_lens = {140, 480, 61}, .h_q = 9, .page_size = page_size});
  }
}

TEST_P(Shapes, QueryTokens) {
  for (const int32_t causal : {0, 1}) {
    for (int64_t s_q = 1; s_q <= 5; ++s_q) {
      expect_contract({.seq_lens = {4, 64, 131}, .s_q = s_q, .h_q = 16, .causal = causal});
      expect_contract({.seq_lens = {66}, .s_q = s_q, .h_q = 63, .causal = causal});
    }
  }
}

TEST_P(Shapes, Lengths) {
  for (const int32_t length : {0, 1, 63, 64, 65, 140, 1000}) {
    expect_contract({.seq_lens = {length}, .h_q = 16});
    expect_contract({.seq_lens = {length, 1, length}, .s_q = 2, .h_q = 7, .causal = 1});
  }
}

TEST_P(Shapes, Dtypes) {
  constexpr seesaw_dtype kDtypes[] = {SEESAW_FLOAT32, SEESAW_BFLOAT16, SEESAW_FLOAT16};
  for (const seesaw_dtype q_dtype : kDtypes) {
    for (const seesaw_dtype kv_dtype : kDtypes) {
      expect_contract({.seq_lens = {1, 200, 65},
                       .h_q = 17,
                       .q_dtype = q_dtype,
                       .kv_dtype = kv_dtype,
                       .query_magnitude = 8.0F});
    }
  }
}

TEST_P(Shapes, HeadDimensions) {
  constexpr struct {
    int64_t d_qk, d_v;
  } kDimensions[] = {{576, 512}, {512, 512}, {320, 256}, {288, 256},  {64, 64},
                     {33, 17},   {1, 1},     {96, 5},    {1100, 1030}};
  for (const auto& dimensions : kDimensions) {
    for (const seesaw_dtype dtype : {SEESAW_BFLOAT16, SEESAW_FLOAT32}) {
      expect_contract({.seq_lens = {70, 140},
                       .h_q = 9,
                       .d_qk = dimensions.d_qk,
                       .d_v = dimensions.d_v,
                       .q_dtype = dtype,
                       .kv_dtype = dtype});
    }
  }
}

TEST_P(Shapes, Strides) {
  const Gaps kGaps[] = {
      {.q = 8},
      {.q = 1},
      {.kv_token = 64},
      {.kv_token = 1},
      {.kv_page = 3},
      {.out = 8},
      {.out = 1},
      {.lse = 3},
      {.table = 5},
      {.lengths = 2},
      {.q = 5, .kv_token = 7, .kv_page = 11, .out = 3, .lse = 2, .table = 1, .lengths = 1}};
  for (const Gaps& gaps : kGaps) {
    for (const seesaw_dtype dtype : {SEESAW_BFLOAT16, SEESAW_FLOAT32}) {
      expect_contract({.seq_lens = {70, 140},
                       .s_q = 2,
                       .h_q = 6,
                       .h_kv = 2,
                       .q_dtype = dtype,
                       .kv_dtype = dtype,
                       .gaps = gaps});
    }
  }
}

TEST_P(Shapes, LseAndLargestLogitsOfTokensFirst) {
  for (const std::vector<int32_t>& query_lens :
       {std::vector<int32_t>{}, std::vector<int32_t>{1, 3, 2}}) {
    DecodeSpec spec{
        .seq_lens = {70, 140, 9}, .s_q = 3, .h_q = 6, .max_logits = true, .query_lens = query_lens};
    const DecodeResults heads_first = run(spec);
    for (const int64_t gap : {0, 2}) {
      spec.gaps = {.lse = gap, .tokens_first = true};
      EXPECT_TRUE(run(spec) == heads_first) << describe(spec);
      expect_contract(spec);
    }
  }
}

TEST_P(Shapes, RandomCombinations) {
  std::mt19937 engine(11);
  const auto below = [&](int n) { return std::uniform_int_distribution<int>(0, n - 1)(engine); };
  const auto pick = [&](const auto& values) {
    return values[static_cast<size_t>(below(static_cast<int>(std::size(values))))];
  };
  constexpr seesaw_dtype kDtypes[] = {SEESAW_FLOAT32, SEESAW_BFLOAT16, SEESAW_FLOAT16};
  constexpr int64_t kGroups[] = {1, 2, 3, 7, 8, 9, 16, 31, 33, 64};
  constexpr int64_t kPages[] = {1, 2, 3, 16, 61, 64, 480};
  constexpr int32_t kLengths[] = {0, 1, 2, 63, 64, 65, 127, 128, 129, 140, 400, -1};
  for (int i = 0; i < 60; ++i) {
    DecodeSpec spec;
    spec.seq_lens.resize(static_cast<size_t>(1 + below(5)));
    for (int32_t& length : spec.seq_lens) {
      length = pick(kLengths);
    }
    spec.s_q = 1 + below(4);
    spec.h_kv = 1 + below(2);
    spec.h_q = spec.h_kv * pick(kGroups);
    spec.d_qk = below(2) == 0 ? 576 : 1 + below(300);
    spec.d_v = spec.d_qk == 576 ? 512 : 1 + below(static_cast<int>(spec.d_qk));
    spec.page_size = pick(kPages);
    spec.q_dtype = pick(kDtypes);
    spec.kv_dtype = pick(kDtypes);
    spec.causal = static_cast<int32_t>(below(2));
    spec.lse_base = static_cast<int32_t>(below(2));
    spec.empty_lse = static_cast<int32_t>(below(2));
    spec.batch_invariant = below(2) == 1;
    spec.scale = below(2) == 0 ? 0.0722F : 3.0F;
    spec.planned_batch = spec.batch() + below(3);
    spec.spare_pages = below(3);
    spec.seed = static_cast<uint64_t>(i);
    spec.gaps = {below(3), below(3), below(3), below(3),
                 below(3), below(3), below(3), below(2) == 1};
    expect_contract(spec, 1 + below(5));
  }
}

}  // namespace
}  // namespace seesaw::testing
