// How query rows are cut into row groups: every row tile once, no more blocks than SMs, and the cut
// that keeps one more query token from costing more than its share.
#include "split/row_groups.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace seesaw::split {
namespace {

// The planner's numbers as sm90 has them, for one sequence of `tiles`.
RowGroupProblem problem_of(int64_t row_tiles, int64_t h_kv = 1, int32_t num_sms = 132,
                           int32_t tiles = 128) {
  return {.row_tiles = row_tiles,
          .h_kv = h_kv,
          .num_sms = num_sms,
          .cache_fits_l2 = true,
          .config_for = [tiles](const RowGroups& groups) {
            return SplitConfig{.max_batch = 1,
                               .num_workers = groups.num_workers,
                               .piece_cost_tiles = 3,
                               .max_sequence_tiles = tiles,
                               .split_cost_tiles = 6,
                               .row_groups = groups.row_groups,
                               .deal_rest = 1};
          }};
}

TEST(RowGroups, EveryTileBelongsToOneGroupAndAllBlocksFit) {
  for (const int32_t num_sms : {1, 7, 114, 132}) {
    for (const int64_t h_kv : {1, 2, 8, 200}) {
      for (int64_t row_tiles = 1; row_tiles < 600; ++row_tiles) {
        const RowGroups groups = choose_row_groups(problem_of(row_tiles, h_kv, num_sms));
        ASSERT_GE(groups.row_groups * groups.group_tiles, row_tiles);
        ASSERT_LT((groups.row_groups - 1) * groups.group_tiles, row_tiles) << "an empty group";
        ASSERT_GE(groups.num_workers, 1);
        ASSERT_LE(groups.num_workers * groups.group_tiles * h_kv,
                  std::max<int64_t>(num_sms, groups.group_tiles * h_kv));
        ASSERT_LE(groups.group_tiles * h_kv, std::max<int64_t>(num_sms, h_kv));
      }
    }
  }
}

TEST(RowGroups, FewTilesAreOneGroup) {
  for (int64_t row_tiles = 1; row_tiles <= 4; ++row_tiles) {
    const RowGroups groups = choose_row_groups(problem_of(row_tiles));
    EXPECT_EQ(groups.row_groups, 1);
    EXPECT_EQ(groups.group_tiles, row_tiles);
    EXPECT_EQ(groups.num_workers, 132 / row_tiles);
  }
}

// Whatever divides the SMs needs no second group.
TEST(RowGroups, TilesThatDivideTheSmsAreOneGroup) {
  for (const int64_t row_tiles : {6, 11, 12, 22, 33, 44, 66, 132}) {
    EXPECT_EQ(choose_row_groups(problem_of(row_tiles)).row_groups, 1) << row_tiles;
  }
}

// With one group 23 tiles would have 5 workers, 67 one, and 133 would run twice in turn.
TEST(RowGroups, SmsDoNotIdle) {
  for (int64_t row_tiles = 5; row_tiles < 600; ++row_tiles) {
    const RowGroups groups = choose_row_groups(problem_of(row_tiles));
    const double load =
        static_cast<double>(groups.row_groups) / static_cast<double>(groups.num_workers);
    EXPECT_LE(load, 1.10 * static_cast<double>(row_tiles) / 132) << row_tiles;
  }
}

}  // namespace
}  // namespace seesaw::split
