// The CPU's loops over rows, on every instruction set that the machine has, and strided copies.
#include <gtest/gtest.h>

#include <hwy/targets.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "base/float16.hpp"
#include "baselines/cpu/ops.hpp"
#include "baselines/cpu/rows.hpp"

extern "C" const char* baselines_from_c(void);

namespace seesaw::baselines::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Runs a test body on each instruction set.
template <typename Body>
void on_every_target(Body&& body) {
  for (int64_t left = hwy::SupportedTargets(); left != 0; left &= left - 1) {
    const int64_t target = left & -left;
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    body();
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

std::vector<double> softmax(const std::vector<float>& scores, int64_t visible, float scale) {
  double greatest = -HUGE_VAL;
  for (int64_t i = 0; i < visible; ++i) {
    greatest = std::max(greatest, static_cast<double>(scores[static_cast<size_t>(i)] * scale));
  }
  std::vector<double> weights(scores.size(), 0.0);
  double sum = 0.0;
  for (size_t i = 0; i < static_cast<size_t>(visible); ++i) {
    weights[i] = std::exp(static_cast<double>(scores[i] * scale) - greatest);
    sum += weights[i];
  }
  for (double& weight : weights) {
    weight /= sum;
  }
  return weights;
}

TEST(Rows, SoftmaxOfEveryLength) {
  on_every_target([] {
    for (int64_t count = 1; count < 70; ++count) {
      std::vector<float> scores;
      for (int64_t i = 0; i < count; ++i) {
        scores.push_back(40.0F * std::sin(static_cast<float>(i * i + count)));
      }
      const int64_t visible = count - count / 3;
      const std::vector<double> want = softmax(scores, visible, 0.5F);
      std::vector<float> got(scores.size() + 1, 7.0F);
      softmax_row({.scores = scores.data(),
                   .visible = visible,
                   .count = count,
                   .scale = 0.5F,
                   .probabilities = got.data()});
      for (size_t i = 0; i < want.size(); ++i) {
        // A score's rounding weighs the more, the further it is below the greatest.
        const double relative = 3e-7 - 1.5e-7 * std::log(want[i] + 1e-300);
        EXPECT_NEAR(static_cast<double>(got[i]), want[i], relative * want[i] + 1e-37) << i;
      }
      EXPECT_EQ(got.back(), 7.0F);
    }
  });
}

TEST(Rows, SoftmaxOfNothingInfinityAndNan) {
  on_every_target([] {
    const auto run = [](std::vector<float> scores, std::vector<uint8_t> mask, int64_t visible) {
      SoftmaxRow row;
      row.scores = scores.data();
      row.visible = visible;
      row.count = std::ssize(scores);
      row.mask = mask.empty() ? nullptr : mask.data();
      row.mask_stride = 1;
      row.probabilities = scores.data();
      softmax_row(row);
      return scores;
    };
    using Values = std::vector<float>;
    EXPECT_EQ(run({1.0F, 2.0F, 3.0F}, {0, 0, 0}, 3), Values(3, 0.0F));
    EXPECT_EQ(run({1.0F, 2.0F, 3.0F}, {}, 0), Values(3, 0.0F));
    EXPECT_EQ(run({-kInfinity, 5.0F}, {}, 2), (Values{0.0F, 1.0F}));
    EXPECT_EQ(run({std::nanf(""), 5.0F}, {0, 1}, 2), (Values{0.0F, 1.0F}));
    EXPECT_EQ(run({kInfinity, 5.0F, 5.0F}, {0, 1, 255}, 3), (Values{0.0F, 0.5F, 0.5F}));
    // Seen scores that have no softmax: NaN, while what is hidden gets 0.
    const float nan = std::nanf("");
    for (const Values& seen :
         {Values{nan, 5.0F}, Values{5.0F, nan}, Values{kInfinity, 5.0F}, Values{nan, -kInfinity},
          Values{kInfinity, -kInfinity}, Values{-kInfinity, -kInfinity}}) {
      Values scores = seen;
      scores.insert(scores.end(), {1.0F, nan, 2.0F});
      const Values got = run(scores, {1, 7, 0, 0, 1}, 4);
      EXPECT_TRUE(std::isnan(got[0]) && std::isnan(got[1])) << seen[0] << " " << seen[1];
      EXPECT_EQ((Values{got[2], got[3], got[4]}), Values(3, 0.0F)) << seen[0] << " " << seen[1];
      const Values without_mask = run(seen, {}, 2);
      EXPECT_TRUE(std::isnan(without_mask[0]) && std::isnan(without_mask[1]));
    }
    const Values long_row = run(Values(70, -kInfinity), {}, 70);
    EXPECT_TRUE(
        std::all_of(long_row.begin(), long_row.end(), [](float p) { return std::isnan(p); }));
    EXPECT_EQ(run({1e30F, -1e30F}, {}, 2), (Values{1.0F, 0.0F}));
  });
}

// Every 16-bit number to float32 and back, and float32 numbers between them.
template <typename T>
void check_conversions(DType dtype) {
  std::vector<T> all;
  for (uint32_t bits = 0; bits < 0x10000u; ++bits) {
    all.push_back({static_cast<uint16_t>(bits)});
  }
  std::vector<float> wide(all.size());
  convert_row(all.data(), dtype, wide.data(), DType::kFloat32, std::ssize(all));
  std::vector<float> between(all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    ASSERT_EQ(std::isnan(wide[i]), std::isnan(to_float(all[i])));
    if (!std::isnan(wide[i])) {
      ASSERT_EQ(std::bit_cast<uint32_t>(wide[i]), std::bit_cast<uint32_t>(to_float(all[i])));
    }
    between[i] = std::bit_cast<float>(std::bit_cast<uint32_t>(wide[i]) + 0x1000u +
                                      static_cast<uint32_t>(i % 3));
  }
  for (const std::vector<float>& source : {wide, between}) {
    std::vector<T> narrow(all.size());
    convert_row(source.data(), DType::kFloat32, narrow.data(), dtype, std::ssize(source));
    for (size_t i = 0; i < all.size(); ++i) {
      ASSERT_EQ(std::isnan(to_float(narrow[i])), std::isnan(source[i])) << i;
      if (!std::isnan(source[i])) {
        ASSERT_EQ(narrow[i].bits, from_float<T>(source[i]).bits) << i;
      }
    }
  }
}

TEST(Rows, ConversionsAreExactOrToNearestEven) {
  on_every_target([] {
    check_conversions<BFloat16>(DType::kBFloat16);
    check_conversions<Float16>(DType::kFloat16);
  });
}

// Takes no products.
class NoProducts final : public Products {
 public:
  Status product(const Gemm&) override { return invalid_argument("no products here"); }
};

TEST(Copy, StridesTransposesAndConverts) {
  Arena arena;
  NoProducts products;
  CpuOps ops(arena, products, Pass::kRun);
  std::vector<float> source(2 * 3 * 4 * 5);
  for (size_t i = 0; i < source.size(); ++i) {
    source[i] = static_cast<float>(i);
  }
  const View from = packed(source.data(), DType::kFloat32, {2, 3, 4, 5});
  const std::array<size_t, 4> orders[] = {{0, 1, 2, 3}, {0, 2, 1, 3}, {1, 0, 3, 2}, {3, 2, 1, 0}};
  for (const auto& order : orders) {
    const View view = from.permute(order);
    std::vector<BFloat16> target(source.size());
    const View to = packed(target.data(), DType::kBFloat16, view.shape);
    ASSERT_TRUE(ops.copy(view, to).ok());
    ASSERT_TRUE(ops.copy(to, view).ok());  // back again: small integers are exact in bfloat16
    size_t next = 0;
    for (int64_t i = 0; i < view.shape[0]; ++i) {
      for (int64_t j = 0; j < view.shape[1]; ++j) {
        for (int64_t k = 0; k < view.shape[2]; ++k) {
          for (int64_t l = 0; l < view.shape[3]; ++l) {
            const int64_t at =
                i * view.stride[0] + j * view.stride[1] + k * view.stride[2] + l * view.stride[3];
            EXPECT_EQ(to_float(target[next++]), static_cast<float>(at));
          }
        }
      }
    }
  }
  for (size_t i = 0; i < source.size(); ++i) {
    EXPECT_EQ(source[i], static_cast<float>(i));
  }
}

TEST(CAbi, WorksFromC) { EXPECT_STREQ(baselines_from_c(), nullptr); }

}  // namespace
}  // namespace seesaw::baselines::cpu
