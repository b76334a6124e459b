// The combine alone: random partials in the workspace against the merge in double on the host.
#include "gpu/combine.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>

#include "base/float16.hpp"
#include "device_memory.hpp"

namespace seesaw::gpu_test {
namespace {

struct CombineCase {
  std::vector<int32_t> lengths;
  int32_t num_workers = 132;
  int32_t fixed_split_tiles = 0;
  int64_t s_q = 1;
  int64_t h_q = 16;
  int64_t h_kv = 1;
  DType dtype = DType::kBFloat16;
  LseBase lse_base = LseBase::kNatural;
  int64_t out_head_stride = 512;  // an odd one forbids storing pairs
};

struct Merge {
  std::vector<double> out;  // 512
  double lse = 0.0;         // base 2
  bool empty = false;
};

class CombineRun {
 public:
  explicit CombineRun(const CombineCase& c) : c_(c) {
    plan_.problem.q_dtype = c.dtype;
    plan_.problem.batch = static_cast<int64_t>(c.lengths.size());
    plan_.problem.s_q = c.s_q;
    plan_.problem.h_q = c.h_q;
    plan_.problem.h_kv = c.h_kv;
    plan_.problem.lse_base = c.lse_base;
    plan_.split = {
        .max_batch = static_cast<int32_t>(c.lengths.size()),
        .num_workers = c.num_workers,
        .tile_tokens = 64,
        .piece_cost_tiles = 2,
        .fixed_split_tiles = c.fixed_split_tiles,
        .max_sequence_tiles = 1 + *std::max_element(c.lengths.begin(), c.lengths.end()) / 64};
    layout_ = {.num_slots = split::max_partials(plan_.split),
               .h_kv = c.h_kv,
               .rows_per_head = plan_.problem.rows()};
    schedule_host_.resize(split::schedule_bytes(plan_.split));
    split::build_schedule(plan_.split, c.lengths.data(), 1, static_cast<int32_t>(c.lengths.size()),
                          schedule_host_.data());
    make_partials();
  }

  // Runs the combine and checks every split sequence; the others' outputs must stay poisoned.
  void check() {
    run();
    const split::ScheduleView view = split::schedule_view(schedule_host_.data(), plan_.split);
    int64_t splits = 0;
    for (size_t i = 0; i < c_.lengths.size(); ++i) {
      const int32_t begin = view.sequence_piece_begin[i];
      const int32_t end = view.sequence_piece_begin[i + 1];
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
    out_host_.resize(static_cast<size_t>(layout_.num_rows() * 512));
    stat_host_.resize(static_cast<size_t>(layout_.num_rows()));
    for (size_t row = 0; row < stat_host_.size(); ++row) {
      const bool empty = random() % 5 == 0;
      gpu::PartialStat& stat = stat_host_[row];
      stat.frame = empty ? gpu::kEmptyFrame : 20.0F * normal(random);
      stat.sum = empty ? 0.0F : 1.0F + 50.0F * std::fabs(normal(random));
      for (size_t half = 0; half < 2; ++half) {
        // Also far smaller than the sum: the scale takes it into 16 bits and back.
        const float size = empty ? 0.0F : stat.sum * std::exp2(-std::fabs(10.0F * normal(random)));
        make_half_row(size, &out_host_[row * 512 + half * 256], &stat.unscale[half], random);
      }
    }
  }

  static void make_half_row(float size, uint16_t* out, float* unscale, std::mt19937_64& random) {
    std::normal_distribution<float> normal;
    std::vector<float> values(256);
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
    const size_t out_elements = static_cast<size_t>(b * c_.s_q * c_.h_q * c_.out_head_stride);
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
    DenseDecodeArguments arguments;
    arguments.batch = b;
    arguments.out.data = out.as<void>();
    arguments.out.shape = {b, c_.s_q, c_.h_q, 512};
    arguments.out.stride = {c_.s_q * c_.h_q * c_.out_head_stride, c_.h_q * c_.out_head_stride,
                            c_.out_head_stride, 1};
    arguments.lse.data = lse.as<void>();
    arguments.lse.stride = {c_.h_q * c_.s_q, c_.s_q, 1, 0};
    arguments.schedule = schedule.as<void>();
    arguments.workspace = workspace.as<void>();
    arguments.stream = stream_.get();
    const Status status = gpu::launch_combine(plan_, arguments, layout_, 132);
    ASSERT_TRUE(status.ok()) << status.message();
    out_ = copy_to_host<uint16_t>(out.as<void>(), out_elements, stream_.get());
    lse_ = copy_to_host<float>(lse.as<void>(), lse_elements, stream_.get());
  }

  Merge merge(const split::Piece* pieces, int32_t count, int64_t flat_row) const {
    const int64_t rows = c_.h_kv * layout_.rows_per_head;
    double frame = gpu::kEmptyFrame;
    for (int32_t k = 0; k < count; ++k) {
      frame = std::fmax(frame,
                        stat_host_[static_cast<size_t>(pieces[k].partial * rows + flat_row)].frame);
    }
    Merge merged;
    merged.out.assign(512, 0.0);
    double sum = 0.0;
    for (int32_t k = 0; k < count; ++k) {
      const auto row = static_cast<size_t>(pieces[k].partial * rows + flat_row);
      const double weight = std::exp2(static_cast<double>(stat_host_[row].frame) - frame);
      sum += weight * stat_host_[row].sum;
      for (int column = 0; column < 512; ++column) {
        const int place =
            gpu::partial_unit(column) * gpu::kPartialUnitElements + gpu::partial_element(column);
        const float stored = to_float(Float16{out_host_[row * 512 + static_cast<size_t>(place)]});
        merged.out[static_cast<size_t>(column)] +=
            weight * stat_host_[row].unscale[place / 256] * stored;
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
        static_cast<size_t>(((sequence * c_.s_q + token) * c_.h_q + head) * c_.out_head_stride);
    const float lse = lse_[static_cast<size_t>((sequence * c_.h_q + head) * c_.s_q + token)];
    if (count == 1) {
      EXPECT_TRUE(std::isnan(lse));
      EXPECT_EQ(out_[out], 0xFFFF);
      return;
    }
    const Merge truth = merge(pieces, count, flat_row);
    const double want =
        truth.empty ? -INFINITY : truth.lse * (c_.lse_base == LseBase::kTwo ? 1.0 : std::log(2.0));
    if (truth.empty) {
      EXPECT_EQ(lse, want);
    } else {
      EXPECT_NEAR(lse, want, 1e-6 + std::fabs(want) * 1e-6) << sequence << " " << flat_row;
    }
    for (size_t column = 0; column < 512; ++column) {
      const uint16_t bits = out_[out + column];
      const double got = c_.dtype == DType::kBFloat16
                             ? static_cast<double>(to_float(BFloat16{bits}))
                             : static_cast<double>(to_float(Float16{bits}));
      ASSERT_NEAR(got, truth.out[column], 1e-5 + std::fabs(truth.out[column]) / 250.0)
          << "sequence " << sequence << " row " << flat_row << " column " << column;
    }
  }

  CombineCase c_;
  DenseDecodePlan plan_;
  gpu::PartialLayout layout_;
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
  CombineRun({.lengths = {9000, 4000}, .lse_base = LseBase::kTwo, .out_head_stride = 515}).check();
}

TEST(Quick, Combine) {
  CombineRun({.lengths = {9000, 64, 4000}, .s_q = 2, .h_q = 6, .h_kv = 2}).check();
}

}  // namespace
}  // namespace seesaw::gpu_test
