// The device planner against the host's: the same bytes, whatever the batch.
#include "gpu/schedule.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "lab/device/device_memory.hpp"

namespace seesaw::gpu_test {

using namespace lab;  // device memory
namespace {

// Lengths in one of several manners: all equal, uniform, mostly tiny with a few long, mostly empty.
std::vector<int32_t> random_lengths(std::mt19937_64& random, int32_t count, int32_t max_tokens) {
  std::vector<int32_t> lengths(static_cast<size_t>(count));
  std::uniform_int_distribution<int32_t> any(0, max_tokens);
  const uint64_t manner = random() % 4;
  const int32_t same = any(random);
  for (int32_t& length : lengths) {
    switch (manner) {
      case 0:
        length = same;
        break;
      case 1:
        length = any(random);
        break;
      case 2:
        length = random() % 16 == 0 ? any(random) : any(random) % 65;
        break;
      default:
        length = random() % 8 == 0 ? any(random) : -static_cast<int32_t>(random() % 3);
        break;
    }
  }
  return lengths;
}

class Planner {
 public:
  // Builds on both sides, into buffers of the same poison, and compares every byte.
  void compare(const split::SplitConfig& config, const std::vector<int32_t>& lengths,
               int64_t stride) {
    const size_t bytes = split::schedule_bytes(config);
    std::vector<int32_t> strided(std::max<size_t>(lengths.size() * static_cast<size_t>(stride), 1));
    for (size_t i = 0; i < lengths.size(); ++i) {
      strided[i * static_cast<size_t>(stride)] = lengths[i];
    }
    lens_.reserve(strided.size() * sizeof(int32_t));
    copy_to_device(strided, lens_.as<void>(), stream_.get());
    schedule_.reserve(bytes);
    schedule_.poison(bytes, stream_.get());
    std::vector<uint8_t> wanted(bytes, 0xFF);
    const auto batch = static_cast<int32_t>(lengths.size());
    split::build_schedule(config, strided.data(), stride, batch, wanted.data());
    const Status status = gpu::launch_schedule({.config = config,
                                                .seq_lens = lens_.as<int32_t>(),
                                                .seq_len_stride = stride,
                                                .batch = batch,
                                                .schedule = schedule_.as<void>()},
                                               stream_.get());
    ASSERT_TRUE(status.ok()) << status.message();
    const auto given = copy_to_host<uint8_t>(schedule_.as<void>(), bytes, stream_.get());
    size_t different = 0;
    while (different < bytes && given[different] == wanted[different]) {
      ++different;
    }
    EXPECT_EQ(different, bytes) << "first differing word " << different / 4 << ", batch " << batch
                                << ", workers " << config.num_workers << ", cost "
                                << config.piece_cost_tiles << ", fixed " << config.fixed_split_tiles
                                << ", row groups " << config.row_groups;
  }

 private:
  Stream stream_;
  DeviceBuffer lens_;
  DeviceBuffer schedule_;
};

void compare_many(const std::vector<int32_t>& batches, int32_t repeats) {
  Planner planner;
  std::mt19937_64 random(20261121);
  for (const int32_t batch : batches) {
    for (const int32_t workers : {1, 13, 33, 66, 132, 300}) {
      for (const int32_t fixed : {0, 1, 32}) {
        for (int32_t repeat = 0; repeat < repeats; ++repeat) {
          const int32_t max_tiles = batch > 4096 ? 40 : 1 + static_cast<int32_t>(random() % 1024);
          split::SplitConfig config;
          config.max_batch = batch + static_cast<int32_t>(random() % 5) + (batch == 0 ? 1 : 0);
          config.num_workers = workers;
          config.tile_tokens = 64;
          config.piece_cost_tiles = 1 + static_cast<int32_t>(random() % 8);
          config.fixed_split_tiles = fixed;
          config.max_sequence_tiles = max_tiles;
          config.split_cost_tiles = static_cast<int32_t>(random() % 20);
          config.deal_rest = static_cast<int32_t>(random() % 2);
          config.row_groups = batch > 600 ? 1 : 1 + static_cast<int32_t>(random() % 9);
          planner.compare(config, random_lengths(random, batch, max_tiles * 64),
                          1 + static_cast<int64_t>(random() % 2));
          if (testing::Test::HasFailure()) {
            return;
          }
        }
      }
    }
  }
}

TEST(Schedule, SameBytesAsTheHosts) {
  compare_many({0, 1, 2, 5, 31, 32, 33, 66, 127, 132, 133, 256, 511, 512, 513, 1025, 5000}, 6);
}

TEST(Schedule, SameBytesForABatchOf70000) { compare_many({70000}, 1); }

TEST(Quick, Schedule) {
  Planner planner;
  std::mt19937_64 random(7);
  for (const int32_t fixed : {0, 2}) {
    for (const int32_t batch : {1, 7, 140, 600}) {
      const split::SplitConfig config = {.max_batch = batch,
                                         .num_workers = 132,
                                         .tile_tokens = 64,
                                         .piece_cost_tiles = 3,
                                         .fixed_split_tiles = fixed,
                                         .max_sequence_tiles = 64,
                                         .row_groups = 1 + batch % 3,
                                         .deal_rest = 1};
      planner.compare(config, random_lengths(random, batch, 64 * 64), 1);
      // Of equal lengths what is left over is dealt out: rest pieces.
      planner.compare(config, std::vector<int32_t>(static_cast<size_t>(batch), 4000), 1);
    }
  }
}

// A length that the plan does not allow is cut to the maximum: nothing is written past the buffer.
TEST(Schedule, TooLongLengthsStayInsideTheBuffer) {
  Stream stream;
  const split::SplitConfig config = {.max_batch = 3,
                                     .num_workers = 8,
                                     .tile_tokens = 64,
                                     .piece_cost_tiles = 3,
                                     .fixed_split_tiles = 2,
                                     .max_sequence_tiles = 10};
  const size_t bytes = split::schedule_bytes(config);
  DeviceBuffer lens(12);
  DeviceBuffer schedule(2 * bytes);
  copy_to_device<int32_t>({1 << 30, 640, INT32_MAX}, lens.as<void>(), stream.get());
  schedule.poison(2 * bytes, stream.get());
  const Status status = gpu::launch_schedule({.config = config,
                                              .seq_lens = lens.as<int32_t>(),
                                              .seq_len_stride = 1,
                                              .batch = 3,
                                              .schedule = schedule.as<void>()},
                                             stream.get());
  ASSERT_TRUE(status.ok()) << status.message();
  const auto given = copy_to_host<uint8_t>(schedule.as<void>(), 2 * bytes, stream.get());
  for (size_t i = bytes; i < 2 * bytes; ++i) {
    ASSERT_EQ(given[i], 0xFF) << i;
  }
  split::ScheduleHeader header;
  std::memcpy(&header, given.data(), sizeof(header));
  EXPECT_EQ(header.num_pieces, 15);
}

}  // namespace
}  // namespace seesaw::gpu_test
