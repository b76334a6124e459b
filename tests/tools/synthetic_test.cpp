// Synthetic cases: repeatable, every token on its own page slot, NaN wherever nothing is live.
#include "lab/synthetic.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "lab/elements.hpp"
#include "seesaw/seesaw.hpp"

namespace seesaw::lab {
namespace {

constexpr SyntheticRules kRules{.seed = 5, .spare_pages = 2};

seesaw_dense_decode_problem small_problem() {
  return {.q_dtype = SEESAW_FLOAT32,
          .kv_format = SEESAW_FORMAT_FLOAT16,
          .s_q = 1,
          .h_q = 2,
          .h_kv = 1,
          .d_qk = 8,
          .d_v = 8,
          .page_size = 3};
}

TEST(Synthetic, LengthsAreInRangeAndRepeatable) {
  const auto lengths = make_lengths({3, 9}, 1000, 1);
  const std::set<int32_t> seen(lengths.begin(), lengths.end());
  EXPECT_EQ(seen, (std::set<int32_t>{3, 4, 5, 6, 7, 8, 9}));
  EXPECT_EQ(lengths, make_lengths({3, 9}, 1000, 1));
  EXPECT_NE(lengths, make_lengths({3, 9}, 1000, 2));
  EXPECT_THROW(make_lengths({-1, 9}, 1, 1), Error);
  EXPECT_THROW(make_lengths({10, 9}, 1, 1), Error);
  EXPECT_THROW(make_lengths({0, int64_t{1} << 31}, 1, 1), Error);
  EXPECT_THROW(make_lengths({0, 9}, 0, 1), Error);
}

TEST(Synthetic, PagesAreSharedByNobody) {
  const SyntheticCase source(small_problem(), {7, 0, 3}, kRules);
  EXPECT_EQ(source.num_pages(), 3 + 0 + 1 + 2);
  EXPECT_EQ(source.problem().max_pages_per_sequence, 3);
  std::set<int32_t> used;
  size_t live = 0;
  for (const int32_t page : source.block_table()) {
    if (page >= 0) {
      used.insert(page);
      ++live;
    }
  }
  EXPECT_EQ(live, 4U);
  EXPECT_EQ(used.size(), 4U);
  EXPECT_LT(*used.rbegin(), source.num_pages());
}

TEST(Synthetic, LiveSlotsAreFiniteAndDeadSlotsAreNaN) {
  const SyntheticCase source(small_problem(), {7, 0, 3}, kRules);
  std::vector<uint16_t> cache(source.cache_bytes() / 2);
  source.fill_cache(cache.data());
  int64_t live_tokens = 0;
  for (size_t token = 0; token < cache.size() / 8; ++token) {
    int nans = 0;
    for (size_t column = 0; column < 8; ++column) {
      const float value = load_element(cache.data(), SEESAW_FLOAT16, token * 8 + column);
      nans += std::isnan(value) ? 1 : 0;
      EXPECT_FALSE(std::fabs(value) > 1);
    }
    EXPECT_TRUE(nans == 0 || nans == 8);
    live_tokens += nans == 0 ? 1 : 0;
  }
  EXPECT_EQ(live_tokens, 10);
}

TEST(Synthetic, ValuesAreNormal) {
  seesaw_dense_decode_problem problem = small_problem();
  problem.d_qk = 1000;
  problem.h_q = 100;
  const SyntheticCase source(problem, {1}, kRules);
  std::vector<float> q(source.q_bytes() / sizeof(float));
  source.fill_q(q.data());
  double sum = 0;
  double squares = 0;
  int beyond_two_sigma = 0;
  for (const float value : q) {
    sum += value;
    squares += static_cast<double>(value) * value;
    beyond_two_sigma += std::fabs(value) > 0.2F ? 1 : 0;
  }
  const auto count = static_cast<double>(q.size());
  EXPECT_NEAR(sum / count, 0, 0.002);
  EXPECT_NEAR(std::sqrt(squares / count), 0.1, 0.002);
  EXPECT_NEAR(beyond_two_sigma / count, 0.0455, 0.005);
}

// Every draw's quartile, by its distribution's inverse.
TEST(Synthetic, OtherDrawsHaveTheirQuartiles) {
  const std::pair<Values, double> expected[] = {
      {Values::kNormal, 0.67449}, {Values::kPeaked, 2.02347}, {Values::kHeavy, 0.81650}};
  seesaw_dense_decode_problem problem = small_problem();
  problem.d_qk = 1000;
  problem.h_q = 100;
  for (const auto& [values, quartile] : expected) {
    const SyntheticCase source(problem, {1}, {.seed = 5, .values = values});
    std::vector<float> q(source.q_bytes() / sizeof(float));
    source.fill_q(q.data());
    const auto beyond = std::count_if(q.begin(), q.end(), [limit = quartile](float value) {
      return static_cast<double>(value) > limit;
    });
    EXPECT_NEAR(static_cast<double>(beyond) / static_cast<double>(q.size()), 0.25, 0.005)
        << name_of(values);
  }
}

TEST(Synthetic, ValuesThatCancelAlternateFromTokenToToken) {
  seesaw_dense_decode_problem problem = small_problem();
  problem.d_v = 5;  // three columns are for the scores
  const SyntheticCase source(problem, {7}, {.seed = 5, .values = Values::kCancel});
  std::vector<uint16_t> cache(source.cache_bytes() / 2);
  source.fill_cache(cache.data());
  for (int64_t token = 0; token < 7; ++token) {  // pages of 3
    const int64_t row = source.block_table()[static_cast<size_t>(token / 3)] * 3 + token % 3;
    for (int64_t column = 0; column < 5; ++column) {
      const float value =
          load_element(cache.data(), SEESAW_FLOAT16, static_cast<size_t>(row * 8 + column));
      EXPECT_NEAR(value, token % 2 == 0 ? 4.0F : -4.0F, 0.5F) << token;
    }
  }
  std::vector<float> q(source.q_bytes() / sizeof(float));
  source.fill_q(q.data());
  for (size_t i = 0; i < q.size(); ++i) {
    EXPECT_EQ(q[i] == 0.0F, i % 8 < 5) << i;
  }
}

TEST(Synthetic, QueryTokensMayBeOfEachSequencesOwnNumber) {
  SyntheticRules rules = kRules;
  rules.query_lens = {2, 0, 3};
  const SyntheticCase source(small_problem(), {7, 0, 3}, rules);
  EXPECT_EQ(source.problem().ragged, 1);
  EXPECT_EQ(source.problem().s_q, 3);
  EXPECT_EQ(source.total_queries(), 5);
  EXPECT_EQ(source.cu_seqlens_q(), (std::vector<int32_t>{0, 2, 2, 5}));
  std::vector<float> q(source.q_bytes() / sizeof(float));
  ASSERT_EQ(q.size(), 5U * 2 * 8);
  source.fill_q(q.data());
  const seesaw_dense_decode_args args = source.inputs(q.data(), nullptr);
  EXPECT_EQ(args.q.rank, 3);
  EXPECT_EQ(args.q.shape[0], 5);
  EXPECT_EQ(args.cu_seqlens_q.shape[0], 4);
  // A sequence's queries are drawn for it, wherever they lie.
  std::vector<float> last(3 * 2 * 8);
  source.fill_q_of_sequence(2, last.data());
  EXPECT_TRUE(std::equal(last.begin(), last.end(), q.begin() + 2 * 2 * 8));
}

TEST(Synthetic, QueryLensAreInRangeAndNeverAllZero) {
  const auto lens = make_query_lens({0, 3}, 1000, 1);
  EXPECT_EQ(std::set<int32_t>(lens.begin(), lens.end()), (std::set<int32_t>{0, 1, 2, 3}));
  for (uint64_t seed = 0; seed < 20; ++seed) {
    EXPECT_GT(make_query_lens({0, 1}, 1, seed)[0], 0);
  }
  EXPECT_THROW(make_query_lens({-1, 3}, 1, 1), Error);
  EXPECT_THROW(make_query_lens({4, 3}, 1, 1), Error);
  EXPECT_THROW(make_query_lens({0, 0}, 1, 1), Error);
}

TEST(Synthetic, TheSeedDecidesEverything) {
  const auto bytes = [](const SyntheticRules& rules) {
    const SyntheticCase source(small_problem(), {7, 0, 3}, rules);
    std::vector<uint16_t> cache(source.cache_bytes() / 2);
    source.fill_cache(cache.data());
    return cache;
  };
  EXPECT_EQ(bytes(kRules), bytes(kRules));
  EXPECT_NE(bytes(kRules), bytes({.seed = 6, .spare_pages = 2}));
}

TEST(Synthetic, ABlockTableMayBeWiderThanNeeded) {
  const SyntheticCase source(small_problem(), {7, 0, 3}, {.seed = 5, .columns = 9});
  EXPECT_EQ(source.problem().max_pages_per_sequence, 9);
  ASSERT_EQ(source.block_table().size(), 27U);
  EXPECT_GE(source.block_table()[2], 0);
  EXPECT_EQ(source.block_table()[3], -1);
  EXPECT_GE(source.block_table()[18], 0);
}

}  // namespace
}  // namespace seesaw::lab
