// Synthetic cases: repeatable, every token on its own page slot, NaN wherever nothing is live.
#include "synthetic.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "error.hpp"
#include "numbers.hpp"

namespace seesaw::tools {
namespace {

SyntheticShape small_shape() {
  SyntheticShape shape;
  shape.h_q = 2;
  shape.d_qk = 8;
  shape.d_v = 8;
  shape.page_size = 3;
  shape.spare_pages = 2;
  shape.q_dtype = SEESAW_FLOAT32;
  shape.kv_dtype = SEESAW_FLOAT16;
  shape.seed = 5;
  return shape;
}

TEST(Synthetic, LengthsAreInRangeAndRepeatable) {
  const auto lengths = make_lengths({3, 9}, 1000, 1);
  const std::set<int32_t> seen(lengths.begin(), lengths.end());
  EXPECT_EQ(seen, (std::set<int32_t>{3, 4, 5, 6, 7, 8, 9}));
  EXPECT_EQ(lengths, make_lengths({3, 9}, 1000, 1));
  EXPECT_NE(lengths, make_lengths({3, 9}, 1000, 2));
  EXPECT_THROW(make_lengths({-1, 9}, 1, 1), Failure);
  EXPECT_THROW(make_lengths({10, 9}, 1, 1), Failure);
  EXPECT_THROW(make_lengths({0, int64_t{1} << 31}, 1, 1), Failure);
  EXPECT_THROW(make_lengths({0, 9}, 0, 1), Failure);
}

TEST(Synthetic, PagesAreSharedByNobody) {
  const SyntheticCase source(small_shape(), {7, 0, 3});
  EXPECT_EQ(source.num_pages(), 3 + 0 + 1 + 2);
  EXPECT_EQ(source.max_pages_per_sequence(), 3);
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
  const SyntheticCase source(small_shape(), {7, 0, 3});
  std::vector<uint16_t> cache(source.cache_bytes() / 2);
  source.fill_cache(cache.data());
  int64_t live_tokens = 0;
  for (size_t token = 0; token < cache.size() / 8; ++token) {
    int nans = 0;
    for (size_t column = 0; column < 8; ++column) {
      const float value = float16_to_float(cache[token * 8 + column]);
      nans += std::isnan(value) ? 1 : 0;
      EXPECT_FALSE(std::fabs(value) > 1);
    }
    EXPECT_TRUE(nans == 0 || nans == 8);
    live_tokens += nans == 0 ? 1 : 0;
  }
  EXPECT_EQ(live_tokens, 10);
}

TEST(Synthetic, ValuesAreNormal) {
  SyntheticShape shape = small_shape();
  shape.d_qk = 1000;
  shape.h_q = 100;
  const SyntheticCase source(shape, {1});
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

TEST(Synthetic, TheSeedDecidesEverything) {
  SyntheticShape shape = small_shape();
  const auto bytes = [&] {
    const SyntheticCase source(shape, {7, 0, 3});
    std::vector<uint16_t> cache(source.cache_bytes() / 2);
    source.fill_cache(cache.data());
    return cache;
  };
  const auto first = bytes();
  EXPECT_EQ(first, bytes());
  shape.seed = 6;
  EXPECT_NE(first, bytes());
}

}  // namespace
}  // namespace seesaw::tools
