// A schedule that is not the one for these lengths is refused, whatever is wrong with it.
#include "split/check_schedule.hpp"

#include <gtest/gtest.h>

#include <climits>
#include <cstring>
#include <tuple>
#include <vector>

#include "unit/split/schedule_buffer.hpp"

namespace seesaw::split {
namespace {

using SeqLens = std::vector<int32_t>;

const SeqLens kLengths = {1000, 0, 64, 65, 9000, 3};

Status check_for(ScheduleBuffer& schedule, const SeqLens& lengths) {
  return check_schedule(schedule.config(), lengths_of(lengths.data(), 1, INT32_MAX),
                        static_cast<int32_t>(lengths.size()), schedule.data());
}

// fixed_split_tiles, row_groups
class CheckSchedule : public ::testing::TestWithParam<std::tuple<int32_t, int32_t>> {
 protected:
  CheckSchedule() : schedule_(config()) { schedule_.build(kLengths); }

  static SplitConfig config() {
    SplitConfig config = config_for(kLengths, 4);
    config.fixed_split_tiles = std::get<0>(GetParam());
    config.row_groups = std::get<1>(GetParam());
    return config;
  }

  void expect_refused(const SeqLens& lengths, const char* words) {
    const Status status = check_for(schedule_, lengths);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    EXPECT_NE(status.message().find(words), std::string::npos) << status.message();
    EXPECT_NE(status.message().find(", allowed: "), std::string::npos) << status.message();
  }

  ScheduleBuffer schedule_;
};

INSTANTIATE_TEST_SUITE_P(Modes, CheckSchedule,
                         ::testing::Combine(::testing::Values(0, 8), ::testing::Values(1, 3)));

TEST_P(CheckSchedule, AcceptsItsOwnLengths) {
  EXPECT_TRUE(check_for(schedule_, kLengths).ok());
  EXPECT_TRUE(check_schedule_header(schedule_.config(), schedule_.data()).ok());
}

TEST_P(CheckSchedule, AcceptsLengthsOfTheSameTiles) {
  SeqLens lengths = kLengths;
  lengths[0] = 1001;  // 16 tiles either way
  EXPECT_TRUE(check_for(schedule_, lengths).ok());
}

TEST_P(CheckSchedule, RefusesOtherLengths) {
  for (size_t i = 0; i < kLengths.size(); ++i) {
    SeqLens lengths = kLengths;
    lengths[i] += 64 * 20;
    expect_refused(lengths, "schedule made for other lengths");
  }
}

TEST_P(CheckSchedule, RefusesAnotherBatch) {
  SeqLens fewer = kLengths;
  fewer.pop_back();
  expect_refused(fewer, "schedule of 6 sequences");
}

TEST_P(CheckSchedule, RefusesABufferNeverFilled) {
  std::memset(schedule_.data(), 0, sizeof(ScheduleHeader));
  expect_refused(kLengths, "schedule begins with");
}

TEST_P(CheckSchedule, RefusesAnotherPlans) {
  SplitConfig other = schedule_.config();
  other.num_workers = 3;
  const Status status =
      check_schedule(other, lengths_of(kLengths.data(), 1, INT32_MAX), 6, schedule_.data());
  EXPECT_NE(status.message().find("schedule of another plan"), std::string::npos);
}

TEST_P(CheckSchedule, RefusesImpossibleCounts) {
  schedule_.view().header->num_pieces = INT32_MAX;
  expect_refused(kLengths, "schedule of 6 sequences in 2147483647 pieces");
}

// Every word that is part of the schedule matters.
TEST_P(CheckSchedule, RefusesAnyDamage) {
  const ScheduleView view = schedule_.view();
  const auto refuses_damage_in = [&](int32_t* word) {
    *word ^= 0x40;
    const bool refused = !check_for(schedule_, kLengths).ok();
    *word ^= 0x40;
    return refused;
  };
  for (int32_t w = 0; w <= schedule_.config().num_workers; ++w) {
    EXPECT_TRUE(refuses_damage_in(&view.worker_pieces[w].begin)) << "worker " << w;
    EXPECT_TRUE(refuses_damage_in(&view.worker_pieces[w].rest)) << "worker " << w;
  }
  const int64_t items = static_cast<int64_t>(kLengths.size()) * schedule_.config().row_groups;
  for (int64_t i = 0; i <= items; ++i) {
    EXPECT_TRUE(refuses_damage_in(&view.item_piece_begin[i])) << "item " << i;
  }
  for (int32_t p = 0; p < view.header->num_pieces; ++p) {
    EXPECT_TRUE(refuses_damage_in(&view.pieces[p].sequence)) << "piece " << p;
    EXPECT_TRUE(refuses_damage_in(&view.pieces[p].row_group)) << "piece " << p;
    EXPECT_TRUE(refuses_damage_in(&view.pieces[p].tile_begin)) << "piece " << p;
    EXPECT_TRUE(refuses_damage_in(&view.pieces[p].tile_end)) << "piece " << p;
    EXPECT_TRUE(refuses_damage_in(&view.pieces[p].partial)) << "piece " << p;
    EXPECT_TRUE(refuses_damage_in(&view.pieces[p].sequence_tiles)) << "piece " << p;
  }
  EXPECT_TRUE(check_for(schedule_, kLengths).ok());
}

TEST(CheckConfig, RefusesMorePiecesThan32BitsCount) {
  SplitConfig config;
  config.max_batch = 70'000;
  config.fixed_split_tiles = 16;
  config.max_sequence_tiles = 1 << 20;
  const Status status = check_config(config);
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("batch = 70000"), std::string::npos) << status.message();
  config.max_sequence_tiles = 1 << 10;
  EXPECT_TRUE(check_config(config).ok());
}

}  // namespace
}  // namespace seesaw::split
