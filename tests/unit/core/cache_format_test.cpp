// Cache formats as values: the published layouts fit without code of their own, and their records
// are read as they are defined.
#include "core/cache_format.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

namespace seesaw {
namespace {

// DeepSeek-V3.2, GLM-5: 512 e4m3, 4 float scales of 128 values, 64 bf16.
constexpr CacheFormat kFp8Of656 = {.name = "fp8_656",
                                   .latent = {ElementType::kFloat8E4M3, 512, 0},
                                   .rotary = {ElementType::kBFloat16, 64, 528},
                                   .scales = {ElementType::kFloat32, 4, 512},
                                   .scaled_columns = 512,
                                   .scale_group = 128,
                                   .row_bytes = 656};
// DeepSeek-V4: 448 e4m3 and 64 bf16, then behind the page's rows 7 scales of 64 values and a pad.
constexpr CacheFormat kFp8Of584 = {.name = "fp8_584",
                                   .latent = {ElementType::kFloat8E4M3, 448, 0},
                                   .rotary = {ElementType::kBFloat16, 64, 448},
                                   .scales = {ElementType::kFloat8E8M0, 7, 0, Place::kTail},
                                   .scaled_columns = 448,
                                   .scale_group = 64,
                                   .row_bytes = 576,
                                   .tail_bytes = 8,
                                   .page_alignment = 576};
// Dense engines: 576 e4m3, one scale of the whole cache.
constexpr CacheFormat kFp8Of576 = {.name = "fp8_576",
                                   .latent = {ElementType::kFloat8E4M3, 512, 0},
                                   .rotary = {ElementType::kFloat8E4M3, 64, 512},
                                   .tensor_scale = true,
                                   .row_bytes = 576};
// DeepSeek-V4.1: 512 e4m3, rotary included, 16 scales of 32 values behind the page's rows.
constexpr CacheFormat kFp8Of528 = {.name = "fp8_528",
                                   .latent = {ElementType::kFloat8E4M3, 512, 0},
                                   .scales = {ElementType::kFloat8E8M0, 16, 0, Place::kTail},
                                   .scaled_columns = 512,
                                   .scale_group = 32,
                                   .row_bytes = 512,
                                   .tail_bytes = 16,
                                   .page_alignment = 512};
// DeepSeek-V4.1's extra cache: 512 e2m1, 32 e4m3 scales of 16 values.
constexpr CacheFormat kFp4Of288 = {.name = "fp4_288",
                                   .latent = {ElementType::kFloat4E2M1, 512, 0},
                                   .scales = {ElementType::kFloat8E4M3, 32, 256},
                                   .scaled_columns = 512,
                                   .scale_group = 16,
                                   .row_bytes = 288};
// The lightning indexer's keys: 128 e4m3, one float scale behind the page's rows.
constexpr CacheFormat kIndexerOf132 = {.name = "indexer_132",
                                       .latent = {ElementType::kFloat8E4M3, 128, 0},
                                       .scales = {ElementType::kFloat32, 1, 0, Place::kTail},
                                       .scaled_columns = 128,
                                       .scale_group = 128,
                                       .row_bytes = 128,
                                       .tail_bytes = 4};
// For CPUs: 512 int8 with a scale a token, 64 bf16.
constexpr CacheFormat kInt8 = {.name = "int8",
                               .latent = {ElementType::kInt8, 512, 0},
                               .rotary = {ElementType::kBFloat16, 64, 516},
                               .scales = {ElementType::kFloat32, 1, 512},
                               .scaled_columns = 512,
                               .scale_group = 512,
                               .row_bytes = 644};

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
  EXPECT_EQ(drawn(kFp8Of528), "[0,512) latent [0,16) scales behind the page");
  EXPECT_EQ(kFp8Of528.page_bytes(64), 33'792);
  EXPECT_EQ(drawn(kFp4Of288), "[0,256) latent [256,288) scales");
  EXPECT_EQ(drawn(kIndexerOf132), "[0,128) latent [0,4) scales behind the page");
  EXPECT_EQ(kIndexerOf132.page_bytes(64), 64 * 132);
  EXPECT_EQ(drawn(kInt8), "[0,512) latent [516,644) rotary [512,516) scales");
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
  page[288 + 0] = std::byte{0x92};    // 1.0 in the low half, -0.5 in the high one
  page[288 + 256] = std::byte{0x40};  // 2.0, of columns 0 to 15
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
  std::memcpy(whole.data() + 512, &scale, sizeof(scale));
  EXPECT_EQ(record(kInt8, whole, kPage, 0)[0], -64.0);
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
