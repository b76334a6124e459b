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

// What the planner is given: the lengths of one stream, or of two.
struct Given {
  std::vector<int32_t> first = {};
  int64_t stride = 1;
  std::vector<int32_t> second = {};
  int32_t second_most = 0;  // > 0 without lengths: so many each
  int32_t items_per_length = 1;

  int32_t batch() const { return static_cast<int32_t>(first.size()) * items_per_length; }
};

class Planner {
 public:
  // Builds on both sides, into buffers of the same poison, and compares every byte.
  void compare(const split::SplitConfig& config, const Given& given) {
    const size_t bytes = split::schedule_bytes(config);
    const std::vector<int32_t> first = spread(given.first, given.stride);
    const std::vector<int32_t> second = spread(given.second, given.stride);
    upload(first, &first_);
    upload(second, &second_);
    schedule_.reserve(bytes);
    schedule_.poison(bytes, stream_.get());
    std::vector<uint8_t> wanted(bytes, 0xFF);
    split::build_schedule(config, lengths(given, first.data(), second.data()), given.batch(),
                          wanted.data());
    const Status status = gpu::launch_schedule(
        {.config = config,
         .lengths = lengths(given, first_.as<int32_t>(), second_.as<int32_t>()),
         .batch = given.batch(),
         .schedule = schedule_.as<void>()},
        stream_.get());
    ASSERT_TRUE(status.ok()) << status.message();
    const auto built = copy_to_host<uint8_t>(schedule_.as<void>(), bytes, stream_.get());
    size_t different = 0;
    while (different < bytes && built[different] == wanted[different]) {
      ++different;
    }
    EXPECT_EQ(different, bytes) << "first differing word " << different / 4 << ", batch "
                                << given.batch() << ", workers " << config.num_workers << ", cost "
                                << config.piece_cost_tiles << ", fixed " << config.fixed_split_tiles
                                << ", row groups " << config.row_groups;
  }

 private:
  static split::Lengths lengths(const Given& given, const int32_t* first, const int32_t* second) {
    split::Lengths lengths = split::lengths_of(first, given.stride, INT32_MAX);
    lengths.streams[1] = {given.second.empty() ? nullptr : second, given.stride, given.second_most};
    lengths.items_per_length = given.items_per_length;
    return lengths;
  }

  static std::vector<int32_t> spread(const std::vector<int32_t>& lengths, int64_t stride) {
    std::vector<int32_t> strided(std::max<size_t>(lengths.size() * static_cast<size_t>(stride), 1));
    for (size_t i = 0; i < lengths.size(); ++i) {
      strided[i * static_cast<size_t>(stride)] = lengths[i];
    }
    return strided;
  }

  void upload(const std::vector<int32_t>& numbers, DeviceBuffer* buffer) {
    buffer->reserve(numbers.size() * sizeof(int32_t));
    copy_to_device(numbers, buffer->as<void>(), stream_.get());
  }

  Stream stream_;
  DeviceBuffer first_;
  DeviceBuffer second_;
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
          planner.compare(config, {.first = random_lengths(random, batch, max_tiles * 64),
                                   .stride = 1 + static_cast<int64_t>(random() % 2)});
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
      planner.compare(config, {.first = random_lengths(random, batch, 64 * 64)});
      // Of equal lengths what is left over is dealt out: rest pieces.
      planner.compare(config, {.first = std::vector<int32_t>(static_cast<size_t>(batch), 4000)});
    }
  }
}

// Two streams, with lengths or without, and entries that several items share.
TEST(Quick, ScheduleOfTwoStreams) {
  Planner planner;
  std::mt19937_64 random(8);
  for (const int32_t fixed : {0, 3}) {
    for (const int32_t entries : {1, 9, 150}) {
      for (const int32_t shared : {1, 4}) {
        const split::SplitConfig config = {.max_batch = entries * shared,
                                           .num_workers = 132,
                                           .tile_tokens = 64,
                                           .piece_cost_tiles = 3,
                                           .fixed_split_tiles = fixed,
                                           .max_sequence_tiles = 64,
                                           .row_groups = 1 + entries % 2,
                                           .deal_rest = 1};
        Given given = {.first = random_lengths(random, entries, 40 * 64),
                       .stride = 2,
                       .second = random_lengths(random, entries, 24 * 64),
                       .second_most = 20 * 64,
                       .items_per_length = shared};
        planner.compare(config, given);
        given.second.clear();
        planner.compare(config, given);
      }
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
  const Status status =
      gpu::launch_schedule({.config = config,
                            .lengths = split::lengths_of(lens.as<int32_t>(), 1, INT32_MAX),
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
