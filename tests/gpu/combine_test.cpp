// The combine alone: random partials in the workspace against the merge in double on the host.
#include "gpu/combine.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>
#include <random>

#include "base/float16.hpp"
#include "lab/device/device_memory.hpp"

namespace seesaw::gpu_test {

using namespace lab;  // device memory
namespace {

struct CombineCase {
  std::vector<int32_t> lengths;
  int32_t num_workers = 132;
  int32_t fixed_split_tiles = 0;
  int64_t s_q = 1;
  int64_t h_q = 16;
  int64_t h_kv = 1;
  int64_t d_v = 512;
  DType dtype = DType::kBFloat16;
  bool base_two = false;
  int64_t out_padding = 0;  // between rows; an odd one forbids storing pairs

  int64_t group() const { return h_q / h_kv; }
  int64_t rows() const { return s_q * group(); }
  int64_t out_head_stride() const { return d_v + out_padding; }
};

struct Merge {
  std::vector<double> out;  // d_v
  double lse = 0.0;         // base 2
  bool empty = false;
};

class CombineRun {
 public:
  explicit CombineRun(const CombineCase& c) : c_(c) {
    split_ = {.max_batch = static_cast<int32_t>(c.lengths.size()),
              .num_workers = c.num_workers,
              .tile_tokens = 64,
              .piece_cost_tiles = 2,
              .fixed_split_tiles = c.fixed_split_tiles,
              .max_sequence_tiles = 1 + *std::max_element(c.lengths.begin(), c.lengths.end()) / 64};
    layout_ = {.num_slots = split::max_partials(split_),
               .h_kv = c.h_kv,
               .rows_per_head = c.rows(),
               .d_v = c.d_v};
    units_ = gpu::partial_units(c.d_v);
    blocks_ = gpu::partial_blocks(c.d_v);
    schedule_host_.resize(split::schedule_bytes(split_));
    split::build_schedule(split_, split::lengths_of(c.lengths.data(), 1, INT32_MAX),
                          static_cast<int32_t>(c.lengths.size()), schedule_host_.data());
    make_partials();
  }

  // Runs the combine and checks every split sequence; the others' outputs must stay poisoned.
  void check() {
    run();
    const split::ScheduleView view = split::schedule_view(schedule_host_.data(), split_);
    int64_t splits = 0;
    for (size_t i = 0; i < c_.lengths.size(); ++i) {
      const int32_t begin = view.item_piece_begin[i];
      const int32_t end = view.item_piece_begin[i + 1];
      splits += end - begin > 1;
      const int64_t rows = c_.h_kv * layout_.rows_per_head;
      const int64_t step = rows > 16 ? 13 : 1;  // of many rows some: the host's merge is slow
      for (int64_t row = 0; row < rows && !testing::Test::HasFailure(); row += step) {
        check_row(static_cast<int64_t>(i), row, view.pieces + begin, end - begin);
      }
    }
    EXPECT_GT(splits, 0) << "the case splits nothing";
  }

 private:
  void make_partials() {
    std::mt19937_64 random(5);
    std::normal_distribution<float> normal;
    const auto block_elements = static_cast<size_t>(gpu::partial_block_columns(c_.d_v));
    stat_host_.resize(static_cast<size_t>(layout_.num_rows() * blocks_));
    out_host_.resize(stat_host_.size() * block_elements);
    gpu::PartialStat row = {};
    for (size_t i = 0; i < stat_host_.size(); ++i) {
      if (i % static_cast<size_t>(blocks_) == 0) {  // frame and sum are the row's
        const bool empty = random() % 5 == 0;
        row.frame = empty ? gpu::kEmptyFrame : 20.0F * normal(random);
        row.sum = empty ? 0.0F : 1.0F + 50.0F * std::fabs(normal(random));
      }
      // Also far smaller than the sum: the scale takes it into 16 bits and back.
      const float size = row.sum * std::exp2(-std::fabs(10.0F * normal(random)));
      make_block(size, block_elements, &out_host_[i * block_elements], &row.unscale, random);
      stat_host_[i] = row;
    }
  }

  static void make_block(float size, size_t elements, uint16_t* out, float* unscale,
                         std::mt19937_64& random) {
    std::normal_distribution<float> normal;
    std::vector<float> values(elements);
    float largest = 0.0F;
    for (float& value : values) {
      value = size * normal(random);
      largest = std::max(largest, std::fabs(value));
    }
    const gpu::PartialScale bits = gpu::partial_scale(std::bit_cast<uint32_t>(largest));
    *unscale = std::bit_cast<float>(bits.unscale_bits);
    for (size_t i = 0; i < values.size(); ++i) {
      out[i] = from_float<Float16>(values[i] * std::bit_cast<float>(bits.scale_bits)).bits;
    }
  }

  void run() {
    const int64_t b = static_cast<int64_t>(c_.lengths.size());
    const size_t out_elements = static_cast<size_t>(b * c_.s_q * c_.h_q * c_.out_head_stride());
    const size_t lse_elements = static_cast<size_t>(b * c_.s_q * c_.h_q);
    DeviceBuffer schedule(schedule_host_.size());
    DeviceBuffer workspace(layout_.size_bytes());
    DeviceBuffer out(out_elements * 2);
    DeviceBuffer lse(lse_elements * 4);
    copy_to_device(schedule_host_, schedule.as<void>(), stream_.get());
    copy_to_device(out_host_, workspace.as<char>() + layout_.out_offset(), stream_.get());
    copy_to_device(stat_host_, workspace.as<char>() + layout_.stat_offset(), stream_.get());
    out.poison(out.bytes(), stream_.get());
    lse.poison(lse.bytes(), stream_.get());
    const Status status =
        gpu::launch_combine({.split = split_,
                             .schedule = schedule.as<void>(),
                             .batch = static_cast<int32_t>(b),
                             .partials = layout_,
                             .workspace = workspace.as<void>(),
                             .group = c_.group(),
                             .rows = c_.rows(),
                             .out_dtype = c_.dtype,
                             .out = out.as<void>(),
                             .out_stride = {c_.s_q * c_.h_q * c_.out_head_stride(),
                                            c_.h_q * c_.out_head_stride(), c_.out_head_stride()},
                             .lse = lse.as<float>(),
                             .lse_stride = {c_.h_q * c_.s_q, c_.s_q, 1},
                             .lse_factor = c_.base_two ? 1.0F : std::numbers::ln2_v<float>,
                             .empty_lse = -INFINITY,
                             .num_sms = 132,
                             .stream = stream_.get()});
    ASSERT_TRUE(status.ok()) << status.message();
    out_ = copy_to_host<uint16_t>(out.as<void>(), out_elements, stream_.get());
    lse_ = copy_to_host<float>(lse.as<void>(), lse_elements, stream_.get());
  }

  Merge merge(const split::Piece* pieces, int32_t count, int64_t flat_row) const {
    const int64_t rows = c_.h_kv * layout_.rows_per_head;
    double frame = gpu::kEmptyFrame;
    for (int32_t k = 0; k < count; ++k) {
      const int64_t row = pieces[k].partial * rows + flat_row;
      frame = std::fmax(frame, stat_host_[static_cast<size_t>(row * blocks_)].frame);
    }
    Merge merged;
    merged.out.assign(static_cast<size_t>(c_.d_v), 0.0);
    const int block_columns = gpu::partial_block_columns(c_.d_v);
    double sum = 0.0;
    for (int32_t k = 0; k < count; ++k) {
      const auto row = static_cast<size_t>(pieces[k].partial * rows + flat_row);
      const gpu::PartialStat* stat = &stat_host_[row * static_cast<size_t>(blocks_)];
      const uint16_t* stored = &out_host_[row * static_cast<size_t>(units_ * 8)];
      const double weight = std::exp2(static_cast<double>(stat->frame) - frame);
      sum += weight * stat->sum;
      for (int column = 0; column < c_.d_v; ++column) {
        const int place =
            gpu::partial_unit(column) * gpu::kPartialUnitElements + gpu::partial_element(column);
        merged.out[static_cast<size_t>(column)] +=
            weight * stat[column / block_columns].unscale * to_float(Float16{stored[place]});
      }
    }
    merged.empty = sum == 0.0;
    for (double& value : merged.out) {
      value = merged.empty ? 0.0 : value / sum;
    }
    merged.lse = frame + std::log2(sum);
    return merged;
  }

  void check_row(int64_t sequence, int64_t flat_row, const split::Piece* pieces, int32_t count) {
    const int64_t group = c_.h_q / c_.h_kv;
    const int64_t row = flat_row % layout_.rows_per_head;
    const int64_t head = flat_row / layout_.rows_per_head * group + row % group;
    const int64_t token = row / group;
    const auto out =
        static_cast<size_t>(((sequence * c_.s_q + token) * c_.h_q + head) * c_.out_head_stride());
    const float lse = lse_[static_cast<size_t>((sequence * c_.h_q + head) * c_.s_q + token)];
    if (count == 1) {
      EXPECT_TRUE(std::isnan(lse));
      EXPECT_EQ(out_[out], 0xFFFF);
      return;
    }
    const Merge truth = merge(pieces, count, flat_row);
    const double want = truth.empty ? -INFINITY : truth.lse * (c_.base_two ? 1.0 : std::log(2.0));
    if (truth.empty) {
      EXPECT_EQ(lse, want);
    } else {
      EXPECT_NEAR(lse, want, 1e-6 + std::fabs(want) * 1e-6) << sequence << " " << flat_row;
    }
    for (size_t column = 0; column < truth.out.size(); ++column) {
      const uint16_t bits = out_[out + column];
      const double got = c_.dtype == DType::kBFloat16
                             ? static_cast<double>(to_float(BFloat16{bits}))
                             : static_cast<double>(to_float(Float16{bits}));
      ASSERT_NEAR(got, truth.out[column], 1e-5 + std::fabs(truth.out[column]) / 250.0)
          << "sequence " << sequence << " row " << flat_row << " column " << column;
    }
  }

  CombineCase c_;
  split::SplitConfig split_;
  gpu::PartialLayout layout_;
  int64_t units_ = 0;   // of a row
  int64_t blocks_ = 0;  // of a row
  Stream stream_;
  std::vector<uint8_t> schedule_host_;
  std::vector<uint16_t> out_host_;
  std::vector<gpu::PartialStat> stat_host_;
  std::vector<uint16_t> out_;
  std::vector<float> lse_;
};

// Whatever the largest magnitude, the scaled number keeps 11 bits in fp16, and the inverse is
// exact.
TEST(Combine, ScalesOfPartials) {
  for (int exponent = -126; exponent <= 126; ++exponent) {
    const float largest = std::ldexp(1.9990234375F, exponent);  // 11 bits, all set
    const gpu::PartialScale bits = gpu::partial_scale(std::bit_cast<uint32_t>(largest));
    const float scale = std::bit_cast<float>(bits.scale_bits);
    const float unscale = std::bit_cast<float>(bits.unscale_bits);
    EXPECT_EQ(scale * unscale, 1.0F) << exponent;
    EXPECT_EQ(to_float(from_float<Float16>(largest * scale)) * unscale, largest) << exponent;
  }
  const gpu::PartialScale zero = gpu::partial_scale(0);
  EXPECT_TRUE(std::isfinite(std::bit_cast<float>(zero.scale_bits)));
  EXPECT_GT(std::bit_cast<float>(zero.unscale_bits), 0.0F);
}

TEST(Combine, AnyNumberOfSplits) {
  for (const int32_t workers : {2, 3, 7, 8, 9, 16, 17, 33, 64, 100, 132, 300}) {
    CombineRun({.lengths = {64 * 400}, .num_workers = workers, .h_q = 3}).check();
  }
}

TEST(Combine, SeveralSequencesAndHeads) {
  CombineRun({.lengths = {0, 9000, 64, 20000, 1, 30000}, .s_q = 2, .h_q = 6, .h_kv = 3}).check();
  CombineRun({.lengths = std::vector<int32_t>(100, 8192), .num_workers = 66, .h_q = 2}).check();
  CombineRun({.lengths = {5000, 12000}, .h_q = 128, .dtype = DType::kFloat16}).check();
}

TEST(Combine, BatchInvariantHasMorePartialsThanWorkers) {
  CombineRun({.lengths = {64 * 1000, 70, 64 * 40, 0}, .fixed_split_tiles = 1, .h_q = 2}).check();
  CombineRun({.lengths = std::vector<int32_t>(700, 200), .fixed_split_tiles = 2, .h_q = 1}).check();
}

TEST(Combine, OddStridesAndBaseTwo) {
  CombineRun({.lengths = {9000, 4000}, .base_two = true, .out_padding = 3}).check();
}

// Blocks of 256, 128 and 64 columns, several, and rows that end within one.
TEST(Combine, AnyNumberOfColumns) {
  for (const int64_t d_v : {1, 64, 80, 128, 192, 256, 320, 384, 512, 576, 768, 1000}) {
    SCOPED_TRACE(d_v);
    for (const int32_t workers : {2, 4, 5, 40, 132}) {
      CombineRun({.lengths = {64 * 400}, .num_workers = workers, .h_q = 9, .d_v = d_v}).check();
    }
    CombineRun({.lengths = {9000, 64, 4000, 0}, .s_q = 3, .h_q = 40, .h_kv = 2, .d_v = d_v})
        .check();
  }
}

TEST(Quick, Combine) {
  CombineRun({.lengths = {9000, 64, 4000}, .s_q = 2, .h_q = 6, .h_kv = 2}).check();
}

TEST(Quick, CombineOfFewColumnsAndOddStrides) {
  CombineRun({.lengths = {900, 64, 400}, .num_workers = 5, .h_q = 3, .d_v = 80}).check();
  CombineRun({.lengths = {900, 0, 400}, .num_workers = 9, .h_q = 2, .d_v = 257, .out_padding = 2})
      .check();
}

}  // namespace
}  // namespace seesaw::gpu_test
