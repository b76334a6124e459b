// The harness must be able to fail: wrong results, NaN and missing rows are seen.
#include "ladder/inputs.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "ladder/arithmetic.hpp"

namespace seesaw::ladder {
namespace {

struct Checked {
  HostProblem host{ProblemSpec{.heads = 3, .seq_lens = {70, 5}}};
  std::vector<int64_t> rows = rows_to_check(host.view(), 1 << 20);
  std::vector<double> reference = reference_rows(host.view(), rows);

  Checked() {  // the right answer, rounded
    for (size_t i = 0; i < reference.size(); ++i) {
      host.out[i] = to_bf16(static_cast<float>(reference[i]));
    }
  }
  Deviation compare() const { return compare_rows(host.out, rows, reference); }
};

TEST(CompareRows, AcceptsTheRoundedTruth) { EXPECT_TRUE(Checked().compare().ok()); }

TEST(CompareRows, RefusesOneWrongElement) {
  Checked c;
  c.host.out[1234] = to_bf16(to_float(c.host.out[1234]) + 0.01F);
  EXPECT_FALSE(c.compare().ok());
}

TEST(CompareRows, RefusesNan) {
  Checked c;
  c.host.out.back() = 0x7FC0;
  EXPECT_FALSE(c.compare().ok());
}

TEST(CompareRows, RefusesNoRows) {
  Checked c;
  c.rows.clear();
  EXPECT_FALSE(c.compare().ok());
}

TEST(HostProblem, WhatMustNotBeReadIsPoison) {
  HostProblem host({.heads = 2, .seq_lens = {70, 5}});
  const Problem p = host.view();
  ASSERT_EQ(p.max_tokens, 128);
  EXPECT_TRUE(std::isnan(to_float(p.k[70 * kQkColumns])));
  EXPECT_TRUE(std::isnan(to_float(p.v[(128 + 5) * kValueColumns])));
  EXPECT_FALSE(std::isnan(to_float(p.k[69 * kQkColumns])));
  EXPECT_GE(p.block_table[3], p.num_pages);  // sequence 1 has one page only
  EXPECT_TRUE(std::all_of(host.out.begin(), host.out.end(),
                          [](Bf16 value) { return std::isnan(to_float(value)); }));
}

// A run that writes nothing must not pass for the one before.
TEST(HostProblem, ClearedOutputIsWrong) {
  Checked c;
  c.host.clear_out();
  EXPECT_FALSE(c.compare().ok());
}

TEST(HostProblem, PagesHoldTheSameTokens) {
  HostProblem host({.heads = 2, .seq_lens = {200, 64}});
  const Problem p = host.view();
  std::set<int32_t> used;
  for (int b = 0; b < p.batch; ++b) {
    for (int t = 0; t < p.seq_lens[b]; ++t) {
      const int32_t page = p.block_table[b * p.pages_per_sequence() + t / kPageTokens];
      used.insert(page);
      for (int c = 0; c < kQkColumns; ++c) {
        const Bf16 key = p.k[(static_cast<int64_t>(b) * p.max_tokens + t) * kQkColumns + c];
        ASSERT_EQ(
            p.pool[(static_cast<int64_t>(page) * kPageTokens + t % kPageTokens) * kQkColumns + c],
            key);
        if (c < kValueColumns) {
          ASSERT_EQ(p.v[(static_cast<int64_t>(b) * p.max_tokens + t) * kValueColumns + c], key);
        }
      }
    }
  }
  EXPECT_EQ(used.size(), 5U);  // no page serves twice
}

TEST(RowsToCheck, FirstAndLastAreIn) {
  Problem p;
  p.batch = 10;
  p.heads = 100;
  const std::vector<int64_t> rows = rows_to_check(p, 7);
  ASSERT_EQ(rows.size(), 7U);
  EXPECT_EQ(rows.front(), 0);
  EXPECT_EQ(rows.back(), 999);
}

}  // namespace
}  // namespace seesaw::ladder
