// Cache formats as values: the published layouts fit without code of their own, and their records
// are read as they are defined.
#include "core/cache_format.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

namespace seesaw {
namespace {

const CacheFormat kFp8Of656 = cache_format(SEESAW_FORMAT_FP8_656, 0);
const CacheFormat kFp8Of584 = cache_format(SEESAW_FORMAT_FP8_584, 0);
const CacheFormat kFp8Of576 = cache_format(SEESAW_FORMAT_FP8_576, 0);
const CacheFormat kFp8Of528 = cache_format(SEESAW_FORMAT_FP8_528, 0);
const CacheFormat kFp4Of288 = cache_format(SEESAW_FORMAT_FP4_288, 0);
const CacheFormat kIndexerOf132 = cache_format(SEESAW_FORMAT_INDEXER_132, 0);
const CacheFormat kInt8 = cache_format(SEESAW_FORMAT_INT8_644, 0);

// A record as text: "[0,512) latent [512,528) scales".
std::string drawn(const CacheFormat& format) {
  std::string text;
  const auto draw = [&](const char* name, const Segment& segment) {
    if (segment.count > 0) {
      text += fmt::format("{}[{},{}) {}{}", text.empty() ? "" : " ", segment.offset,
                          segment.offset + segment.size_bytes(), name,
                          segment.place == Place::kTail ? " behind the page" : "");
    }
  };
  draw("latent", format.latent);
  draw("rotary", format.rotary);
  draw("scales", format.scales);
  return text;
}

TEST(CacheFormat, PublishedLayoutsFit) {
  EXPECT_EQ(drawn(kFp8Of656), "[0,512) latent [528,656) rotary [512,528) scales");
  EXPECT_EQ(kFp8Of656.page_bytes(64), 64 * 656);
  EXPECT_EQ(drawn(kFp8Of584), "[0,448) latent [448,576) rotary [0,7) scales behind the page");
  EXPECT_EQ(kFp8Of584.page_bytes(64), 37'440);
  EXPECT_EQ(kFp8Of584.page_bytes(256), 149'760);
  EXPECT_EQ(drawn(kFp8Of576), "[0,512) latent [512,576) rotary");
  EXPECT_EQ(drawn(kFp8Of528), "[0,448) latent [448,512) rotary [0,16) scales behind the page");
  EXPECT_EQ(kFp8Of528.page_bytes(64), 33'792);
  EXPECT_EQ(drawn(kFp4Of288), "[0,224) latent [224,256) rotary [0,32) scales behind the page");
  EXPECT_EQ(drawn(kIndexerOf132), "[0,128) latent [0,4) scales behind the page");
  EXPECT_EQ(kIndexerOf132.page_bytes(64), 64 * 132);
  EXPECT_EQ(drawn(kInt8), "[0,512) latent [512,640) rotary [0,4) scales behind the page");
  for (const CacheFormat& format : {kFp8Of656, kFp8Of584, kFp8Of576, kInt8}) {
    EXPECT_EQ(format.columns(), format.name == kFp8Of584.name ? 512 : 576) << format.name;
  }
}

// Bytes of a page in which every token differs.
std::vector<std::byte> page_of(const CacheFormat& format, int64_t page_size) {
  std::vector<std::byte> page(static_cast<size_t>(format.page_bytes(page_size)));
  for (size_t i = 0; i < page.size(); ++i) {
    page[i] = static_cast<std::byte>((i * 37 + i / 256 * 11) % 0x7F);  // no NaN pattern
  }
  return page;
}

std::vector<double> record(const CacheFormat& format, const std::vector<std::byte>& page,
                           int64_t page_size, int64_t token, double tensor_scale = 1.0) {
  std::vector<double> values(static_cast<size_t>(format.columns()));
  read_record(format, record_at(format, page.data(), page_size, format.row_bytes, token),
              tensor_scale, values.data());
  return values;
}

TEST(CacheFormat, ScalesThatStandInTheRowAreRead) {
  constexpr int64_t kPage = 3;
  std::vector<std::byte> page = page_of(kFp8Of656, kPage);
  const float scales[] = {0.37F, 2.0F, -1.5F, 1e-20F};  // any scale: not only powers of two
  std::memcpy(page.data() + 656 + 512, scales, sizeof(scales));
  page[656 + 0] = std::byte{0x38};    // 1.0
  page[656 + 130] = std::byte{0xC4};  // -3.0
  page[656 + 511] = std::byte{0x7E};  // 448
  const uint16_t minus_two = 0xC000;
  std::memcpy(page.data() + 656 + 528 + 2 * 63, &minus_two, 2);
  const std::vector<double> values = record(kFp8Of656, page, kPage, 1);
  EXPECT_EQ(values[0], static_cast<double>(scales[0]));
  EXPECT_EQ(values[130], -6.0);
  EXPECT_EQ(values[511], 448.0 * static_cast<double>(scales[3]));
  EXPECT_EQ(values[575], -2.0);  // not scaled
}

TEST(CacheFormat, ScalesBehindThePageAreRead) {
  constexpr int64_t kPage = 5;
  std::vector<std::byte> page = page_of(kFp8Of584, kPage);
  const size_t tail = kPage * 576 + 4 * 8;  // of token 4
  page[tail + 0] = std::byte{127};          // 1
  page[tail + 6] = std::byte{130};          // 8
  page[4 * 576 + 63] = std::byte{0x38};
  page[4 * 576 + 447] = std::byte{0x38};
  const uint16_t half = 0x3F00;
  std::memcpy(page.data() + 4 * 576 + 448, &half, 2);
  const std::vector<double> values = record(kFp8Of584, page, kPage, 4);
  EXPECT_EQ(values[63], 1.0);
  EXPECT_EQ(values[447], 8.0);
  EXPECT_EQ(values[448], 0.5);
}

TEST(CacheFormat, FourBitElementsComeInPairsAndTensorScalesMultiplyAll) {
  constexpr int64_t kPage = 2;
  std::vector<std::byte> page = page_of(kFp4Of288, kPage);
  page[256] = std::byte{0x92};               // 1.0 in the low half, -0.5 in the high one
  page[kPage * 256 + 32] = std::byte{0x40};  // 2.0, of columns 0 to 15
  const std::vector<double> values = record(kFp4Of288, page, kPage, 1);
  EXPECT_EQ(values[0], 2.0);
  EXPECT_EQ(values[1], -1.0);

  std::vector<std::byte> flat = page_of(kFp8Of576, kPage);
  flat[0] = std::byte{0x38};
  flat[575] = std::byte{0xB8};
  const std::vector<double> scaled = record(kFp8Of576, flat, kPage, 0, 0.25);
  EXPECT_EQ(scaled[0], 0.25);
  EXPECT_EQ(scaled[575], -0.25);

  std::vector<std::byte> whole = page_of(kInt8, kPage);
  whole[0] = std::byte{0x80};
  const float scale = 0.5F;
  std::memcpy(whole.data() + kPage * 640, &scale, sizeof(scale));
  EXPECT_EQ(record(kInt8, whole, kPage, 0)[0], -64.0);
}

// What a token becomes and is read as again.
struct Stored {
  std::vector<double> values;
  int64_t saturated;
};
Stored stored(const CacheFormat& format, const std::vector<float>& values, ScaleRule rule,
              const float* given = nullptr, float tensor_scale = 1.0F) {
  std::vector<std::byte> page(static_cast<size_t>(format.page_bytes(1)), std::byte{0x7F});
  RecordSlot slot = {page.data(), page.data() + format.row_bytes};
  Stored result{std::vector<double>(values.size()), 0};
  result.saturated = write_record(format, values.data(), rule, given, tensor_scale, slot);
  read_record(format, {slot.row, slot.tail}, static_cast<double>(tensor_scale),
              result.values.data());
  return result;
}

std::vector<float> waves(const CacheFormat& format, float amplitude) {
  std::vector<float> values(static_cast<size_t>(format.columns()));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = amplitude * std::sin(static_cast<float>(i) * 0.7F);
  }
  return values;
}

TEST(CacheFormat, WrittenRecordsAreReadWithinHalfAStep) {
  for (const CacheFormat& format : byte_formats()) {
    for (const ScaleRule rule : {ScaleRule::kPowerOfTwo, ScaleRule::kExact}) {
      for (const float amplitude : {1e-20F, 0.01F, 3.0F, 1e4F}) {
        if (format.tensor_scale && amplitude != 3.0F) {
          continue;  // its scale is the caller's
        }
        if (format.scales.type == ElementType::kFloat8E4M3 &&
            (amplitude == 1e-20F || amplitude == 1e4F)) {
          continue;  // no scale is as small or as large
        }
        const std::vector<float> values = waves(format, amplitude);
        const Stored result = stored(format, values, rule);
        EXPECT_EQ(result.saturated, 0) << format.name;
        // Half of the coarsest step between neighbours: e4m3 2^-4, e2m1 1 of 4 in scales rounded
        // up to twice the least, int8 of the largest.
        const double step = format.latent.type == ElementType::kFloat4E2M1 ? 0.36 : 0.07;
        for (size_t i = 0; i < values.size(); ++i) {
          EXPECT_NEAR(result.values[i], values[i], step * static_cast<double>(amplitude))
              << format.name << " column " << i;
        }
      }
    }
  }
}

TEST(CacheFormat, NaNsAreStoredAndWhatIsTooLargeSaturates) {
  for (const CacheFormat& format : byte_formats()) {
    std::vector<float> values = waves(format, 1.0F);
    values[5] = NAN;
    const Stored poisoned = stored(format, values, ScaleRule::kPowerOfTwo);
    EXPECT_TRUE(std::isnan(poisoned.values[5])) << format.name;
    EXPECT_EQ(poisoned.saturated, 0);
    values[5] = -INFINITY;
    const Stored limited = stored(format, values, ScaleRule::kExact);
    EXPECT_EQ(limited.saturated, 1) << format.name;
    EXPECT_TRUE(std::isfinite(limited.values[5]));
    EXPECT_LT(limited.values[5], -0.9);
  }
}

TEST(CacheFormat, GivenScalesAreUsedAndBadOnesShow) {
  const CacheFormat format = cache_format(SEESAW_FORMAT_FP8_656, 0);
  const std::vector<float> values = waves(format, 1.0F);
  const float given[] = {0.37F, 1e-3F, 0.0F, INFINITY};
  const Stored result = stored(format, values, ScaleRule::kGiven, given);
  EXPECT_NEAR(result.values[3], values[3], 0.07);
  EXPECT_GT(result.saturated, 50);              // of the second group: 448e-3 is its largest
  EXPECT_TRUE(std::isnan(result.values[300]));  // 0 and infinity are no scales
  EXPECT_TRUE(std::isnan(result.values[500]));
}

// Every exponent, with the fractions at which rounding may turn.
TEST(CacheFormat, PowersOfTwoAreQuotientsRoundedUp) {
  constexpr uint32_t kAround[] = {0, 0x200000, 0x400000, 0x600000, 0x7E0000, 0x800000};
  for (const float largest : {kLargestE4M3, kLargestE2M1, kLargestInt8}) {
    for (uint32_t exponent = 0; exponent < 255; ++exponent) {
      for (const uint32_t fraction : kAround) {
        for (const uint32_t step : {0U, 1U, 2U, 0x7FFFFFU}) {
          const float greatest = float_of(exponent << 23 | ((fraction + step) & 0x7FFFFFu));
          const float exact = std::max(greatest / largest, 0x1p-126F);
          int power;
          const float fraction_of = std::frexp(exact, &power);
          EXPECT_EQ(power_of_two_scale(greatest, largest),
                    std::ldexp(1.0F, fraction_of == 0.5F ? power - 1 : power))
              << greatest << " / " << largest;
        }
      }
    }
  }
}

TEST(CacheFormat, PlainFormatsAreElements) {
  const CacheFormat format = cache_format(SEESAW_FORMAT_FLOAT32, 7);
  EXPECT_STREQ(format.name, "float32");
  EXPECT_EQ(format.row_bytes, 28);
  EXPECT_EQ(format.columns(), 7);
  const float row[7] = {1, -2, 3, NAN, 5, 6, 7};
  std::vector<double> values(7);
  read_record(format, {reinterpret_cast<const std::byte*>(row), nullptr}, 1.0, values.data());
  EXPECT_EQ(values[1], -2.0);
  EXPECT_TRUE(std::isnan(values[3]));
  EXPECT_EQ(cache_format(SEESAW_FORMAT_BFLOAT16, 576).row_bytes, 1152);
  EXPECT_EQ(storage_of(SEESAW_FORMAT_FLOAT16), DType::kFloat16);
}

}  // namespace
}  // namespace seesaw
