// Records as packed keys, on every instruction set of this machine: each number has the bits that
// the definition gives, rounded to a float and, for bfloat16, once more.
#include "cpu/dequantize.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/float16.hpp"
#include "cpu/select.hpp"

namespace seesaw::cpu {
namespace {

constexpr int64_t kPageSize = 37;
constexpr int64_t kFirst = 3;   // of the page's tokens
constexpr int64_t kCount = 32;  // tokens that are packed
constexpr int64_t kBegin = 5;   // where they are put

uint32_t hash(uint32_t x) {
  x ^= x >> 16;
  x *= 0x7FEB352Du;
  x ^= x >> 15;
  x *= 0x846CA68Bu;
  return x ^ x >> 16;
}

// Any bytes at all as elements: every code of e4m3, NaN among them. Scales of all sizes, a few of
// them infinite, NaN with every bit set, or zero.
std::vector<std::byte> page_of(const CacheFormat& format) {
  std::vector<std::byte> page(static_cast<size_t>(format.page_bytes(kPageSize)));
  for (size_t i = 0; i < page.size(); ++i) {
    page[i] = static_cast<std::byte>(hash(static_cast<uint32_t>(i) + 77));
  }
  for (int64_t token = 0; format.scales.type == ElementType::kFloat32 && token < kPageSize;
       ++token) {
    const RecordView record = record_at(format, page.data(), kPageSize, format.row_bytes, token);
    const std::byte* from = format.scales.place == Place::kRow ? record.row : record.tail;
    std::byte* to = page.data() + (from + format.scales.offset - page.data());
    for (int32_t i = 0; i < format.scales.count; ++i) {
      const uint32_t bits = hash(static_cast<uint32_t>(token * 8 + i));
      float scale = std::ldexp(1.0F + static_cast<float>(bits & 0xFFFFu) * 0x1p-16F,
                               static_cast<int>(bits >> 16 & 0x3Fu) - 32);
      scale = token == 4 ? INFINITY : token == 5 ? 0.0F : token == 6 ? 0x1.8p125F : scale;
      scale = token == 7 ? std::bit_cast<float>(~uint32_t{0}) : scale;
      std::memcpy(to + i * int32_t{sizeof(scale)}, &scale, sizeof(scale));
    }
  }
  return page;
}

PackedLayout layout_of(const CacheFormat& format, int64_t depth_block, int64_t per_word) {
  PackedLayout layout{};
  layout.d_qk = format.columns();
  layout.depth_blocks = format.columns() / depth_block;
  layout.depth_block_words = depth_block / per_word;
  layout.key_block_stride = (kBegin + kCount) * layout.depth_block_words + kWordsPerLine;
  return layout;
}

// The word of packed keys that holds a column, and which part of it.
uint32_t packed(const std::vector<uint32_t>& keys, const PackedLayout& layout, int64_t per_word,
                int64_t token, int64_t column) {
  const int64_t depth_block = layout.depth_block_words * per_word;
  const int64_t word = column / depth_block * layout.key_block_stride +
                       token * layout.depth_block_words + column % depth_block / per_word;
  const uint32_t bits = keys[static_cast<size_t>(word)];
  return per_word == 1 ? bits : column % 2 == 0 ? bits & 0xFFFFu : bits >> 16;
}

void expect_definition(const CacheFormat& format, PackRecords pack, int64_t depth_block,
                       int64_t per_word) {
  const std::vector<std::byte> page = page_of(format);
  const PackedLayout layout = layout_of(format, depth_block, per_word);
  std::vector<uint32_t> keys(static_cast<size_t>(layout.depth_blocks * layout.key_block_stride));
  pack(layout, format,
       {record_at(format, page.data(), kPageSize, format.row_bytes, kFirst), format.row_bytes,
        kCount},
       kBegin, keys.data());
  std::vector<double> values(static_cast<size_t>(format.columns()));
  for (int64_t token = 0; token < kCount; ++token) {
    read_record(format, record_at(format, page.data(), kPageSize, format.row_bytes, kFirst + token),
                1.0, values.data());
    for (int64_t c = 0; c < format.columns(); ++c) {
      const auto value = static_cast<float>(values[static_cast<size_t>(c)]);
      const uint32_t bits = packed(keys, layout, per_word, kBegin + token, c);
      const float got = std::bit_cast<float>(per_word == 1 ? bits : bits << 16);
      const float expected = per_word == 1 ? value : to_float(from_float<BFloat16>(value));
      ASSERT_TRUE(std::isnan(expected)
                      ? std::isnan(got)
                      : std::bit_cast<uint32_t>(got) == std::bit_cast<uint32_t>(expected))
          << format.name << " token " << token << " column " << c << ": " << got << ", expected "
          << expected;
    }
  }
  // Only the tokens of the run are written.
  for (int64_t block = 0; block < layout.depth_blocks; ++block) {
    for (int64_t word = 0; word < kBegin * layout.depth_block_words; ++word) {
      ASSERT_EQ(keys[static_cast<size_t>(block * layout.key_block_stride + word)], 0U);
    }
  }
}

TEST(Dequantize, GivesTheDefinitionsBitsOnEveryInstructionSet) {
  for (const Target target : {Target::kBaseline, Target::kAvx2, Target::kAvx512}) {
    if (best_target(target) != target) {
      continue;
    }
    SCOPED_TRACE(kTargetNames[static_cast<size_t>(target)]);
    const RecordPackers packers = record_packers(target);
    for (const CacheFormat& format : byte_formats()) {
      expect_definition(format, packers.as_float, 64, 1);
      expect_definition(format, packers.as_bf16, 64, 2);
      expect_definition(format, packers.as_bf16, 32, 2);
    }
  }
}

}  // namespace
}  // namespace seesaw::cpu
