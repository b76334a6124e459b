// Exercises of level 2, "analyse and tune" (docs/guide/12-exercises.md), solved.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <numeric>
#include <vector>

#include "ladder/inputs.hpp"
#include "ladder/swizzle.hpp"
#include "seesaw/ops/dense_decode.h"

namespace seesaw::ladder {
namespace {

// 2.1 The number of query rows that share a token at which both limits take equally long.
double balance_rows(double peak_flops, double bytes_per_second) {
  const double flops_per_row_and_token = 2.0 * (kQkColumns + kValueColumns);
  const double bytes_per_token = 2.0 * kQkColumns;
  return peak_flops / bytes_per_second * bytes_per_token / flops_per_row_and_token;
}

TEST(Exercise21, BalanceOfAnH200) {
  const double rows = balance_rows(790e12, 4.42e12);
  EXPECT_NEAR(rows, 94.6, 0.1);
  // With two query tokens a head brings two rows: from 48 heads on arithmetic is the limit.
  EXPECT_EQ(std::ceil(rows / 2), 48);
  // The operations and bytes that the ladder reports agree, up to Q' and the output.
  const std::vector<int32_t> long_sequence = {1 << 20};
  const Work work = work_of(static_cast<int>(std::lround(rows)), long_sequence);
  EXPECT_NEAR(work.flops / 790e12 / (work.bytes / 4.42e12), 1.0, 0.01);
}

// 2.2 Eight threads read 16 bytes each at the given offsets: the most that meet in one bank.
int conflict(const std::function<int(int)>& offset_of_thread) {
  int readers[32] = {};
  for (int thread = 0; thread < 8; ++thread) {
    for (int word = 0; word < 4; ++word) {
      ++readers[(offset_of_thread(thread) / 4 + word) % 32];
    }
  }
  return *std::max_element(std::begin(readers), std::end(readers));
}

TEST(Exercise22, BankConflictsOfThreeLayouts) {
  constexpr int kColumn = 24;  // all threads the same piece of different rows
  EXPECT_EQ(conflict([](int row) { return row * 1152 + kColumn * 2; }), 8);  // packed
  EXPECT_EQ(conflict([](int row) { return row * 1168 + kColumn * 2; }), 1);  // padded, rungs 4 to 7
  EXPECT_EQ(conflict([](int row) { return swizzled_offset(row, kColumn); }), 1);  // rungs 8 to 10
}

TEST(Exercise22, TheSwizzleLosesNothing) {
  std::vector<int> used(kBlockBytes / 2, 0);
  for (int row = 0; row < kTileRows; ++row) {
    for (int column = 0; column < kQkColumns; column += 2) {
      ++used[static_cast<size_t>(swizzled_offset(row, column) / 2)];
      ++used[static_cast<size_t>(swizzled_offset(row, column) / 2 + 1)];
    }
  }
  EXPECT_TRUE(std::all_of(used.begin(), used.end(), [](int times) { return times == 1; }));
}

// 2.3 How much longer than the mean does the busiest of eight workers have, in tiles? Once with the
// library's schedule, once with a worker a sequence.
TEST(Exercise23, TheScheduleBalancesUnequalLengths) {
  const std::vector<int32_t> lengths = {200, 9000, 64, 3000, 31000, 700, 12, 5000};
  seesaw_dense_decode_problem problem;
  problem.batch = static_cast<int64_t>(lengths.size());
  problem.h_q = 16;
  problem.max_pages_per_sequence = 512;
  seesaw_options options;
  options.num_threads = 8;
  const DenseDecode plan(problem, options);
  const AlignedBuffer schedule(plan.schedule_bytes());
  seesaw_dense_decode_args args;
  args.seq_lens = make_tensor(lengths.data(), SEESAW_INT32, {problem.batch});
  seesaw_call call;
  call.schedule = schedule.data();
  call.schedule_bytes = schedule.size();
  plan.prepare(args, call);
  std::vector<int> tiles(8, 0);
  for (const seesaw_piece& piece : plan.pieces(schedule.data(), schedule.size())) {
    tiles[static_cast<size_t>(piece.worker)] += piece.tile_end - piece.tile_begin;
  }
  const auto tile_tokens = static_cast<int>(plan.number("tile_tokens"));
  const int total = std::accumulate(tiles.begin(), tiles.end(), 0);
  int expected = 0;
  int longest = 0;
  for (const int32_t length : lengths) {
    const int of_sequence = (length + tile_tokens - 1) / tile_tokens;
    expected += of_sequence;
    longest = std::max(longest, of_sequence);
  }
  EXPECT_EQ(total, expected);  // every tile once
  const double mean = total / 8.0;
  EXPECT_LT(*std::max_element(tiles.begin(), tiles.end()), 1.1 * mean);
  EXPECT_GT(longest, 5.0 * mean);
}

}  // namespace
}  // namespace seesaw::ladder
