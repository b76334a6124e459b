// Caches of every format of the table, on every kernel of the CPU. Records are written and read by
// the core's definition; kernels convert them with code of their own.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "core/cache_format.hpp"
#include "unit/ops/dense_decode/kernel_test.hpp"

namespace seesaw::testing {
namespace {

class Formats : public KernelTest {
 protected:
  // A case of the format with few heads. Its unused slots hold NaN as elements and as scales.
  static DecodeSpec spec_of(const CacheFormat& format, std::vector<int32_t> seq_lens) {
    return {.seq_lens = std::move(seq_lens),
            .h_q = 3,
            .d_qk = format.columns(),
            .d_v = std::min<int64_t>(format.columns(), 512),
            .kv_format = format.id,
            .scale = 1.0F / 16,
            .values = lab::Values::kNormal};
  }

  // A token's values, none of them zero.
  static std::vector<float> token_of(const CacheFormat& format) {
    std::vector<float> values(static_cast<size_t>(format.columns()));
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = 0.25F + static_cast<float>(i % 7) / 8;
    }
    return values;
  }

  static bool all_nan(const std::vector<double>& values, size_t begin, size_t end) {
    return std::all_of(values.begin() + static_cast<ptrdiff_t>(begin),
                       values.begin() + static_cast<ptrdiff_t>(end),
                       [](double value) { return std::isnan(value); });
  }
  static bool none_nan(const std::vector<double>& values) {
    return std::none_of(values.begin(), values.end(),
                        [](double value) { return std::isnan(value); });
  }
};
INSTANTIATE_TEST_SUITE_P(Kernels, Formats, every_kernel(), kernel_name);

TEST_P(Formats, EveryQueryDtypeAndRuleOfScales) {
  for (const CacheFormat& format : byte_formats()) {
    for (const seesaw_dtype dtype : {SEESAW_BFLOAT16, SEESAW_FLOAT16, SEESAW_FLOAT32}) {
      for (const int32_t rule : {SEESAW_SCALES_POWER_OF_TWO, SEESAW_SCALES_EXACT}) {
        DecodeSpec spec = spec_of(format, {70, 0, 300});
        spec.q_dtype = dtype;
        spec.scale_rule = rule;
        expect_contract(spec);
      }
    }
  }
}

TEST_P(Formats, PageSizesAndMasks) {
  for (const CacheFormat& format : byte_formats()) {
    for (const int64_t page_size : {1, 16, 61, 64, 256}) {
      DecodeSpec spec = spec_of(format, {0, 1, 129});
      spec.page_size = page_size;
      spec.s_q = 2;
      spec.causal = 1;
      expect_contract(spec);
    }
  }
}

TEST_P(Formats, ManyHeads) {
  for (const CacheFormat& format : byte_formats()) {
    for (const int64_t heads : {16, 128}) {
      DecodeSpec spec = spec_of(format, {100});
      spec.h_q = heads;
      expect_contract(spec);
    }
  }
}

// Pages of several layers, or of other data, between this cache's; rows apart where they may be.
TEST_P(Formats, StridesAcrossLayers) {
  for (const CacheFormat& format : byte_formats()) {
    DecodeSpec spec = spec_of(format, {150, 40});
    spec.gaps.kv_page = 3 * format.page_bytes(spec.page_size) + 8;
    spec.gaps.kv_token = format.tail_bytes == 0 ? 16 : 0;
    expect_contract(spec);
    if (format.tail_bytes == 0) {  // only records in one piece have neighbours of other heads
      spec.h_q = 6;
      spec.h_kv = 2;
      expect_contract(spec);
    }
  }
}

// The scale of a whole cache, however far from 1: scores and results alone meet it.
TEST_P(Formats, ScalesOfTheWholeCache) {
  const CacheFormat format = cache_format(SEESAW_FORMAT_FP8_576, 0);
  for (const float scale : {1.0F, 0.037F, -3.0F, 0x1p-60F, 0x1p40F}) {
    for (const seesaw_dtype dtype : {SEESAW_BFLOAT16, SEESAW_FLOAT32}) {
      DecodeSpec spec = spec_of(format, {90, 0});
      spec.q_dtype = dtype;
      spec.kv_scale = scale;
      DecodeCase made(spec);
      // Whatever the scale, the elements are those of values near 1.
      std::vector<float> values = token_of(format);
      for (int64_t t = 0; t < 90; ++t) {
        std::rotate(values.begin(), values.begin() + 1, values.end());
        std::vector<float> scaled = values;
        std::for_each(scaled.begin(), scaled.end(), [&](float& value) { value *= scale; });
        made.set_record(0, t, 0, scaled.data());
      }
      testing::expect_contract(made, options());
    }
  }
}

// Scales at the ends of their types' ranges, with elements that bring the numbers back.
TEST_P(Formats, ScalesAtTheEndsOfTheirRange) {
  for (const int32_t id : {SEESAW_FORMAT_FP8_656, SEESAW_FORMAT_FP8_584, SEESAW_FORMAT_FP8_528,
                           SEESAW_FORMAT_INT8_644}) {
    const CacheFormat format = cache_format(id, 0);
    for (const float size : {0x1p-118F, 0x1p110F}) {
      DecodeSpec spec = spec_of(format, {70});
      spec.q_dtype = SEESAW_FLOAT32;
      spec.scale = size > 1 ? 0x1p-117F : 0.1F;
      DecodeCase made(spec);
      std::vector<float> values = token_of(format);
      std::for_each(values.begin(), values.end(), [&](float& value) { value *= size; });
      for (int64_t t = 0; t < 70; t += 3) {
        std::rotate(values.begin(), values.begin() + 1, values.end());
        made.set_record(0, t, 0, values.data());
      }
      testing::expect_contract(made, options());
    }
  }
}

// A scale or an element that is NaN shows in every row that attends the token, and in no other.
TEST_P(Formats, NaNInAScaleOrAnElementShows) {
  for (const CacheFormat& format : byte_formats()) {
    for (const seesaw_dtype dtype : {SEESAW_BFLOAT16, SEESAW_FLOAT32}) {
      DecodeSpec spec = spec_of(format, {65, 65});
      spec.q_dtype = dtype;
      spec.s_q = 2;
      spec.causal = 1;
      DecodeCase made(spec);
      // Of the last token, which the first query token of its sequence does not see.
      const lab::RecordPlace place = made.record_place(1, 64, 0);
      std::byte* at = lab::scales_of(format.id, place);
      std::memset(at != nullptr ? at : place.page + place.slot * place.token_stride, 0xFF,
                  at != nullptr ? static_cast<size_t>(format.scales.size_bytes()) : 1);
      const DecodeResults results = run_case(made, options());
      const auto rows = static_cast<size_t>(spec.h_q);
      const size_t columns = static_cast<size_t>(spec.d_v);
      const size_t first_nan = 3 * rows * columns;  // sequence 1, token 1
      DecodeResults others = results;
      // One number that is NaN makes the score NaN, and so all columns.
      EXPECT_TRUE(all_nan(results.out, first_nan, results.out.size())) << format.name;
      others.out.resize(first_nan);
      EXPECT_TRUE(none_nan(others.out)) << format.name;
    }
  }
}

TEST_P(Formats, NaNInTheScaleOfTheCacheShowsWhereAnythingIsAttended) {
  DecodeSpec spec = spec_of(cache_format(SEESAW_FORMAT_FP8_576, 0), {0, 5});
  const DecodeCase good(spec);
  spec.kv_scale = std::numeric_limits<float>::quiet_NaN();
  const DecodeResults results = run_case(DecodeCase(spec), options());
  const size_t half = results.out.size() / 2;
  EXPECT_TRUE(all_nan(results.out, half, results.out.size()));
  EXPECT_TRUE(none_nan({results.out.begin(), results.out.begin() + static_cast<ptrdiff_t>(half)}));
}

// Numbers that the query's dtype holds are not rounded: float32 results of a quantised cache and of
// its numbers in float32 are the same bits.
TEST_P(Formats, ConvertAsTheDefinitionDoes) {
  for (const CacheFormat& format : byte_formats()) {
    DecodeSpec spec = spec_of(format, {50, 33});
    spec.q_dtype = SEESAW_FLOAT32;
    spec.scale_rule = SEESAW_SCALES_POWER_OF_TWO;
    std::vector<double> values(static_cast<size_t>(spec.d_qk));
    const DecodeCase quantised(spec);
    spec.kv_format = 0;
    spec.kv_dtype = SEESAW_FLOAT32;
    DecodeCase plain(spec);
    for (int64_t i = 0; i < spec.batch(); ++i) {
      for (int64_t t = 0; t < spec.length(i); ++t) {
        lab::load_record(format.id, quantised.record_place(i, t, 0), 1.0, values.data());
        for (int64_t c = 0; c < spec.d_qk; ++c) {
          plain.set_key(i, t, 0, c, static_cast<float>(values[static_cast<size_t>(c)]));
        }
      }
    }
    EXPECT_TRUE(run_case(quantised, options()) == run_case(plain, options())) << format.name;
  }
}

}  // namespace
}  // namespace seesaw::testing
