// append on the CPU: the kernels' bytes are the same; and what they are, against double: values
// within their format's rounding, scales by their rules, rotations, NaN, saturation, bits kept.
#include <gtest/gtest.h>

#include "support/append_case.hpp"
#include "unit/engine/expect_error.hpp"

namespace seesaw::testing {
namespace {

constexpr const char* kReference = "reference.append";

void run(AppendCase& on, const char* kernel, int64_t planned_tokens = 0) {
  seesaw_append_problem problem = on.problem();
  problem.tokens = std::max(problem.tokens, planned_tokens);
  const Append plan(problem, {.num_threads = 2, .kernel = kernel});
  EXPECT_STREQ(plan.kernel(), kernel);
  plan.run(on.args(), {});
}

class Appended : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Kernels, Appended, ::testing::Values("cpu.append", kReference));

// How far a format may be from a value: relative to it, and to its group's largest magnitude
// through the scale (twice the least that would do if it is a power of two).
struct Rounding {
  double relative;
  double of_largest;
};
Rounding rounding_of(ElementType type) {
  switch (type) {
    case ElementType::kFloat8E4M3:
      return {0x1p-4, 0x1p-10 * 2 / 448};
    case ElementType::kFloat4E2M1:  // its scales have 3 bits themselves
      return {0.25, 0.25 * 2 * 1.125 / 6};
    case ElementType::kInt8:
      return {0.0, 0.5 * 2 / 127};
    case ElementType::kBFloat16:
      return {0x1p-8, 0x1p-130};
    case ElementType::kFloat16:
      return {0x1p-11, 0x1p-24};
    default:
      return {0x1p-24, 0x1p-149};
  }
}

// The rotary key as double has it.
std::vector<double> turned_key(AppendCase& of, int64_t token, Buffer buffer, int64_t row) {
  const int64_t d_rope = of.format().rotary.count;
  std::vector<double> key(static_cast<size_t>(d_rope));
  for (int64_t c = 0; c < d_rope; ++c) {
    key[static_cast<size_t>(c)] = static_cast<double>(of.get(buffer, row, d_rope, c));
  }
  if (!of.rotates()) return key;
  const int64_t half = d_rope / 2;
  const bool interleaved = of.spec().rotary == SEESAW_ROTARY_INTERLEAVED;
  const auto* angles =
      of.as<float>(Buffer::kCosSin) + of.as<int64_t>(Buffer::kPositions)[token] * d_rope;
  for (int64_t i = 0; i < half; ++i) {
    double& x = key[static_cast<size_t>(interleaved ? 2 * i : i)];
    double& y = key[static_cast<size_t>(interleaved ? 2 * i + 1 : i + half)];
    const auto cos = static_cast<double>(angles[i]);
    const auto sin = static_cast<double>(angles[half + i]);
    const double turned = x * cos - y * sin;
    y = y * cos + x * sin;
    x = turned;
  }
  return key;
}

// Every record within its rounding, of rows of N(0, 1).
void expect_values(AppendCase& on) {
  for (int64_t t = 0; t < on.spec().tokens; ++t) {
    if (on.slots()[t] < 0) continue;
    const std::vector<double> got = on.record(t);
    std::vector<double> want;
    for (int64_t c = 0; c < on.format().latent.count; ++c) {
      want.push_back(static_cast<double>(on.latent(t, c)));
    }
    for (const double value : turned_key(on, t, Buffer::kKRope, t)) want.push_back(value);
    double largest = 0.0;  // of the token: no group's is larger
    for (const double value : want) largest = std::max(largest, std::abs(value));
    if (on.format().tensor_scale) largest = static_cast<double>(on.spec().kv_scale) * 448;
    for (size_t c = 0; c < want.size(); ++c) {
      const bool latent = c < static_cast<size_t>(on.format().latent.count);
      const Rounding of = rounding_of(latent ? on.format().latent.type : on.format().rotary.type);
      const double turning = on.rotates() && !latent ? largest * 0x1p-21 : 0.0;
      ASSERT_LE(std::abs(got[c] - want[c]),
                std::abs(want[c]) * of.relative + largest * of.of_largest + turning)
          << name_of(on.spec()) << ", token " << t << ", column " << c;
    }
  }
}

TEST_P(Appended, EveryFormatPageSizeAndStride) {
  for (const AppendSpec& spec : append_grid()) {
    AppendCase reference(spec);
    AppendCase kernel(spec);
    run(reference, kReference);
    run(kernel, GetParam());
    ASSERT_EQ(kernel.differs_from(reference), "") << name_of(spec);
    ASSERT_EQ(kernel.changed_elsewhere(), "") << name_of(spec);
  }
}

TEST_P(Appended, ValuesAreWithinTheFormatsRounding) {
  for (const int32_t format : kAllFormats) {
    for (const int32_t dtype : {SEESAW_FLOAT32, SEESAW_BFLOAT16, SEESAW_FLOAT16}) {
      for (const int32_t scales : {SEESAW_SCALES_POWER_OF_TWO, SEESAW_SCALES_EXACT}) {
        const bool rope = is_plain(format) || cache_format(format, 1).rotary.count > 0;
        AppendCase on({.dtype = dtype,
                       .format = format,
                       .scales = scales,
                       .rotary = rope ? dtype % 3 : 0,
                       .plain_rows = true});
        run(on, GetParam());
        expect_values(on);
        EXPECT_EQ(*on.as<int64_t>(Buffer::kSaturated), 7);
      }
    }
  }
}

TEST_P(Appended, ScalesFollowTheirRule) {
  AppendSpec spec = {
      .tokens = 1, .dtype = SEESAW_FLOAT32, .format = SEESAW_FORMAT_FP8_656, .plain_rows = true};
  const auto scales_of = [&](AppendCase& on) {
    std::array<float, 4> scales;
    std::memcpy(scales.data(), on.bytes(Buffer::kCache).data() + on.row_at(on.slots()[0]) + 512,
                16);
    return scales;
  };
  for (const int32_t rule :
       {SEESAW_SCALES_POWER_OF_TWO, SEESAW_SCALES_EXACT, SEESAW_SCALES_GIVEN}) {
    spec.scales = rule;
    AppendCase on(spec);
    on.set_latent(0, 2 * 128 + 9, -13.5F);  // the third group's largest: 13.5 / 448 = 0.0301
    run(on, GetParam());
    const float want = rule == SEESAW_SCALES_POWER_OF_TWO ? 0x1p-5F
                       : rule == SEESAW_SCALES_EXACT      ? 13.5F / 448.0F
                                                          : on.as<float>(Buffer::kScales)[2];
    EXPECT_EQ(scales_of(on)[2], want);
  }
}

TEST_P(Appended, RotationsAreThoseOfDouble) {
  for (const int32_t rotary : {SEESAW_ROTARY_INTERLEAVED, SEESAW_ROTARY_HALF_SPLIT}) {
    for (const int64_t d_rope : {2, 64, 66}) {
      for (const int32_t dtype : {SEESAW_FLOAT32, SEESAW_BFLOAT16}) {
        AppendCase on({.dtype = dtype,
                       .format = SEESAW_FLOAT32,
                       .d_latent = 8,
                       .d_rope = d_rope,
                       .rotary = rotary,
                       .plain_rows = true});
        const AppendCase before = on;
        AppendCase source = on;
        run(on, GetParam());
        expect_values(on);
        const double unit = dtype == SEESAW_FLOAT32 ? 0x1p-24 : 0x1p-8;
        for (int64_t row = 0; row < on.spec().tokens * on.spec().h_q; ++row) {
          const std::vector<double> want =
              turned_key(source, row / on.spec().h_q, Buffer::kQRope, row);
          for (int64_t c = 0; c < d_rope; ++c) {  // of skipped tokens, too
            const double value = want[static_cast<size_t>(c)];
            ASSERT_NEAR(static_cast<double>(on.get(Buffer::kQRope, row, d_rope, c)), value,
                        std::abs(value) * unit + 8 * 0x1p-22)
                << "row " << row << ", column " << c;
          }
        }
      }
    }
  }
}

TEST_P(Appended, NaNStaysWhereItIs) {
  for (const int32_t format : kAllFormats) {
    AppendCase on({.format = format, .plain_rows = true});
    on.set_latent(3, 33, std::numeric_limits<float>::quiet_NaN());
    run(on, GetParam());
    const std::vector<double> got = on.record(3);
    const bool by_scale = !is_plain(format) && !has_nan(on.format().latent.type);
    const int32_t group = by_scale ? on.format().scale_group : 1;
    for (size_t c = 0; c < got.size(); ++c) {
      const bool scaled = by_scale && static_cast<int32_t>(c) < on.format().scaled_columns;
      const bool here = scaled ? static_cast<int32_t>(c) / group == 33 / group : c == 33;
      ASSERT_EQ(std::isnan(got[c]), here) << on.format().name << ", column " << c;
    }
  }
}

TEST_P(Appended, WhatIsTooLargeSaturatesAndIsCounted) {
  AppendCase on({.tokens = 2,
                 .dtype = SEESAW_FLOAT32,
                 .format = SEESAW_FORMAT_FP8_656,
                 .scales = SEESAW_SCALES_GIVEN,
                 .plain_rows = true});
  for (int i = 0; i < 8; ++i) on.as<float>(Buffer::kScales)[i] = 1.0F;
  on.set_latent(0, 0, 500.0F);
  on.set_latent(0, 1, -500.0F);
  on.set_latent(0, 2, 463.0F);  // rounds to 448
  on.set_latent(1, 3, std::numeric_limits<float>::infinity());
  on.set_latent(1, 4, std::numeric_limits<float>::quiet_NaN());
  run(on, GetParam());
  EXPECT_EQ(*on.as<int64_t>(Buffer::kSaturated), 7 + 3);
  EXPECT_EQ(on.record(0)[0], 448.0);
  EXPECT_EQ(on.record(0)[1], -448.0);
  EXPECT_EQ(on.record(0)[2], 448.0);
  EXPECT_EQ(on.record(1)[3], 448.0);
}

TEST_P(Appended, RowsOfZerosAreZeros) {
  for (const int32_t format : kAllFormats) {
    AppendCase on({.tokens = 2, .format = format});  // row 1 is zeros
    run(on, GetParam());
    for (const double value : on.record(1)) EXPECT_EQ(value, 0.0) << on.format().name;
  }
}

TEST_P(Appended, ElementsOfTheSameTypeKeepTheirBits) {
  AppendCase on({.tokens = 1, .format = SEESAW_BFLOAT16});
  const uint16_t signalling = 0xFF81;
  std::memcpy(on.bytes(Buffer::kCKv).data() + 2 * 5, &signalling, 2);
  std::memcpy(on.bytes(Buffer::kKRope).data() + 2 * 7, &signalling, 2);
  run(on, GetParam());
  const std::byte* row = on.bytes(Buffer::kCache).data() + on.row_at(on.slots()[0]);
  EXPECT_EQ(std::memcmp(row, on.bytes(Buffer::kCKv).data(), 1024), 0);
  EXPECT_EQ(std::memcmp(row + 1024, on.bytes(Buffer::kKRope).data(), 128), 0);
}

TEST_P(Appended, FewerTokensThanPlannedAndNone) {
  AppendCase on({.tokens = 3});
  AppendCase same({.tokens = 3});
  run(on, GetParam(), 500);
  run(same, GetParam());
  EXPECT_EQ(on.differs_from(same), "");
  AppendCase none({.tokens = 0});
  run(none, GetParam(), 4);
  EXPECT_EQ(none.changed_elsewhere(), "");
}

TEST_P(Appended, LatentsWithoutRotaryColumns) {
  AppendCase on({.format = SEESAW_FLOAT16, .d_latent = 128, .d_rope = -1});
  EXPECT_EQ(Append(on.problem()).details().workspace_bytes, 0U);
  run(on, GetParam());
  EXPECT_EQ(on.changed_elsewhere(), "");
}

// Of the tokens that are not skipped.
TEST(AppendStats, ARunCountsItsTokensAndBytes) {
  const auto counted = [] {
    for (const seesaw_stats& row : stats()) {
      if (std::string_view(row.kernel) == "cpu.append") return row;
    }
    return seesaw_stats{};
  };
  AppendCase on({.tokens = 12, .format = SEESAW_FORMAT_FP8_584});  // two are skipped
  const seesaw_stats before = counted();
  run(on, "cpu.append");
  const seesaw_stats after = counted();
  EXPECT_EQ(after.kv_tokens - before.kv_tokens, 10U);
  EXPECT_EQ(after.kv_bytes - before.kv_bytes, 10U * 584);
}

}  // namespace
}  // namespace seesaw::testing
