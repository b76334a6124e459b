// Packing of quantised tokens by Google Highway: this file is compiled once for each instruction
// set of kTargets below, in a namespace of its own.
#include "cpu/dequantize.hpp"

#include <bit>
#include <cmath>
#include <cstring>

#include "base/float16.hpp"

#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/dequantize.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace seesaw::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::CappedTag<float, kMaxLanes>;
using Halves = hn::Repartition<uint16_t, Floats>;
using Vector = hn::Vec<Floats>;
constexpr int32_t kLanes = static_cast<int32_t>(hn::MaxLanes(Floats()));
constexpr int32_t kStep = 2 * kLanes;  // columns converted at a time
constexpr int32_t kUnit = 32;          // columns that lie together in every packing
constexpr int32_t kScaledAlike = 16;   // columns that share a scale in every format

// What every format of the table keeps to.
constexpr bool fits_units(const CacheFormat& format) {
  const int32_t group = format.scale_group;
  return format.latent.count % kUnit == 0 && format.rotary.count % kUnit == 0 &&
         (format.scales.count <= 1 || (group % kScaledAlike == 0 && (group & (group - 1)) == 0));
}
constexpr bool all_fit_units() {
  for (const CacheFormat& format : kByteFormats) {
    if (!fits_units(format)) {
      return false;
    }
  }
  return true;
}
static_assert(all_fit_units(), "columns in whole units, a power of two of them with one scale");

// kStep neighbouring columns.
struct Pair {
  Vector low, high;
};

// Elements of a type, kStep of them from column `column` of a segment. e4m3 comes as 2^-8 of
// itself.
inline constexpr float kScaleOfE4M3 = 256.0F;

// Without vectors: Highway 1.0.3's emulation of halves knows no infinities and no NaN.
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
template <typename Element>
Pair pair_of(Element element) {
  alignas(64) float values[kStep];
  for (int32_t i = 0; i < kStep; ++i) {
    values[i] = element(i);
  }
  return {hn::Load(Floats(), values), hn::Load(Floats(), values + kLanes)};
}

struct E4M3 {
  static Pair load(const uint8_t* from, int32_t column) {
    return pair_of([&](int32_t i) { return from_e4m3(from[column + i]) / kScaleOfE4M3; });
  }
};

struct E2M1 {
  static Pair load(const uint8_t* from, int32_t column) {
    return pair_of([&](int32_t i) {
      return from_e2m1(static_cast<uint8_t>(from[(column + i) / 2] >> (i % 2 * 4) & 0xF));
    });
  }
};

struct Bf16 {
  static Pair load(const uint8_t* from, int32_t column) {
    return pair_of([&](int32_t i) {
      BFloat16 value;
      std::memcpy(&value, from + (column + i) * int32_t{sizeof(value)}, sizeof(value));
      return to_float(value);
    });
  }
};
#else
inline Pair widen(hn::Vec<Halves> bits) {
  const hn::Half<Halves> half;  // of integers: Highway 1.0.3 has no upper half of NEON's float16_t
  const hn::Rebind<hwy::float16_t, Floats> df16;
  return {hn::PromoteTo(Floats(), hn::BitCast(df16, hn::LowerHalf(half, bits))),
          hn::PromoteTo(Floats(), hn::BitCast(df16, hn::UpperHalf(half, bits)))};
}

// The bits, moved up, are those of a half whose exponent is biased by 8 more, and conversion of
// halves does not care for subnormal ones. What is NaN in e4m3 would be 1.875: a one that carries
// out of just this pattern makes it a NaN.
struct E4M3 {
  static Pair load(const uint8_t* from, int32_t column) {
    const Halves d;
    const hn::RebindToSigned<Halves> di;
    const auto bytes = hn::PromoteTo(d, hn::LoadU(hn::Rebind<uint8_t, Halves>(), from + column));
    // s.eeeefff at the top, moved down by one with its sign kept: s s eeee fff.
    const auto moved = hn::BitCast(d, hn::ShiftRight<1>(hn::BitCast(di, hn::ShiftLeft<8>(bytes))));
    const auto carried =
        hn::Add(hn::And(moved, hn::Set(d, uint16_t{0x3F80})), hn::Set(d, uint16_t{0x0080}));
    return widen(hn::Or(hn::And(moved, hn::Set(d, uint16_t{0xBF80})),
                        hn::And(carried, hn::Set(d, uint16_t{0x4000}))));
  }
};

// Of a half that is one of the sixteen numbers the lower byte is 0: the upper is looked up.
struct E2M1 {
  static Pair load(const uint8_t* from, int32_t column) {
    const hn::RebindToUnsigned<Floats> d32;
    const hn::Repartition<uint8_t, Floats> d8;
    alignas(16) static constexpr uint8_t kUpperBytes[16] = {
        0x00, 0x38, 0x3C, 0x3E, 0x40, 0x42, 0x44, 0x46,   // 0, 0.5, 1, 1.5, 2, 3, 4, 6
        0x80, 0xB8, 0xBC, 0xBE, 0xC0, 0xC2, 0xC4, 0xC6};  // and negative
    const auto bytes = hn::LoadU(hn::Rebind<uint8_t, Floats>(), from + column / 2);
    const auto pairs = hn::PromoteTo(d32, bytes);
    const auto index = hn::Or(hn::ShiftLeft<8>(hn::And(pairs, hn::Set(d32, 0xFu))),
                              hn::ShiftLeft<24>(hn::ShiftRight<4>(pairs)));
    return widen(hn::BitCast(
        Halves(), hn::TableLookupBytes(hn::LoadDup128(d8, kUpperBytes), hn::BitCast(d8, index))));
  }
};

struct Bf16 {
  static Pair load(const uint8_t* from, int32_t column) {
    from += column * int32_t{sizeof(uint16_t)};
    return {load_vector(from), load_vector(from + kLanes * int32_t{sizeof(uint16_t)})};
  }
  static Vector load_vector(const uint8_t* from) {
    const hn::Rebind<hwy::bfloat16_t, Floats> d;
    return hn::PromoteTo(Floats(), hn::LoadU(d, reinterpret_cast<const hwy::bfloat16_t*>(from)));
  }
};
#endif

struct Int8 {
  static Pair load(const uint8_t* from, int32_t column) {
    return {load_vector(from + column), load_vector(from + column + kLanes)};
  }
  static Vector load_vector(const uint8_t* from) {
    const hn::RebindToSigned<Floats> d32;
    const hn::Rebind<int8_t, Floats> d8;
    const auto bytes = hn::LoadU(d8, reinterpret_cast<const int8_t*>(from));
    return hn::ConvertTo(Floats(), hn::PromoteTo(d32, bytes));
  }
};

// A token's row of packed keys: column c is in depth block c >> block_shift.
struct PackedRow {
  uint32_t* words;  // of the first depth block
  int64_t block_stride;
  int32_t block_shift;
};

// Where a row's columns lie, as the elements that are multiplied.
template <typename T>
class Columns {
 public:
  Columns(const PackedRow& row, int32_t column)
      : column_(column),
        mask_((1 << row.block_shift) - 1),
        jump_(row.block_stride * int64_t{sizeof(uint32_t) / sizeof(T)} - mask_ - 1) {
    const int64_t block = column >> row.block_shift;
    at_ = reinterpret_cast<T*>(row.words + block * row.block_stride) + (column & mask_);
  }

  T* at() const { return at_; }

  // On by `count` columns, which divides a depth block.
  HWY_INLINE void advance(int32_t count) {
    column_ += count;
    at_ += count;
    if ((column_ & mask_) == 0) {
      at_ += jump_;
    }
  }

 private:
  int32_t column_;
  int32_t mask_;
  int64_t jump_;  // from the end of a depth block to the next
  T* at_;
};

struct AsFloat {
  using Type = float;

  static void store(const Pair& values, float* to) {
    hn::StoreU(values.low, Floats(), to);
    hn::StoreU(values.high, Floats(), to + kLanes);
  }
  // kUnit elements that are bfloat16 already.
  static void copy(const uint8_t* from, float* to) {
    for (int32_t i = 0; i < kUnit; i += kStep) {
      store(Bf16::load(from, i), to + i);
    }
  }
};

struct AsBf16 {
  using Type = BFloat16;

  // To nearest even. Scales that are NaN have been made the one whose payload is in its upper half,
  // so that rounding keeps it.
  static auto rounded(Vector value) {
    const hn::RebindToUnsigned<Floats> du;
    const hn::RebindToSigned<Floats> di;
    const auto bits = hn::BitCast(du, value);
    const auto lowest_kept = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
    const auto sum = hn::Add(bits, hn::Add(lowest_kept, hn::Set(du, 0x7FFFu)));
    return hn::DemoteTo(hn::Rebind<uint16_t, Floats>(), hn::BitCast(di, hn::ShiftRight<16>(sum)));
  }
  static void store(const Pair& values, BFloat16* to) {
    const hn::Rebind<uint16_t, Floats> d16;
    hn::StoreU(rounded(values.low), d16, reinterpret_cast<uint16_t*>(to));
    hn::StoreU(rounded(values.high), d16, reinterpret_cast<uint16_t*>(to + kLanes));
  }
  static void copy(const uint8_t* from, BFloat16* to) {
    std::memcpy(to, from, kUnit * sizeof(BFloat16));
  }
};

constexpr int32_t kMostScales = 32;
constexpr int32_t kMostColumns = 576;

// The scales of a token, as multipliers of what `load` returns.
struct Scales {
  float values[kMostScales];
  int32_t group_shift;  // column c has scale c >> group_shift
};

float scale_at(const Segment& segment, const std::byte* from, int32_t i) {
  if (segment.type == ElementType::kFloat32) {
    float scale;
    std::memcpy(&scale, from + i * int32_t{sizeof(scale)}, sizeof(scale));
    return scale;
  }
  const auto bits = static_cast<uint8_t>(from[i]);
  return segment.type == ElementType::kFloat8E8M0 ? from_e8m0(bits) : from_e4m3(bits);
}

const std::byte* bytes_of(const Segment& segment, const RecordView& record) {
  return (segment.place == Place::kRow ? record.row : record.tail) + segment.offset;
}

// False if a product would not fit where it does by definition.
bool read_scales(const CacheFormat& format, const RecordView& record, Scales* scales) {
  const float factor = format.latent.type == ElementType::kFloat8E4M3 ? kScaleOfE4M3 : 1.0F;
  if (format.scales.count == 0) {
    scales->values[0] = factor;
    return true;
  }
  const std::byte* from = bytes_of(format.scales, record);
  bool fit = true;
  for (int32_t i = 0; i < format.scales.count; ++i) {
    const float scale = scale_at(format.scales, from, i);
    fit = fit && !(std::abs(scale) >= 0x1p119F);
    scales->values[i] = std::isnan(scale) ? float_of(float8::kNaN) : scale * factor;
  }
  return fit;
}

// Columns [begin, begin + count), whose elements lie from `from` on.
template <typename Element, typename Out>
void convert(const uint8_t* from, int32_t begin, int32_t count, const Scales& scales,
             const PackedRow& row) {
  const Floats d;
  const int32_t shift = scales.group_shift;  // here, as stores might change it there
  Columns<typename Out::Type> to(row, begin);
  for (int32_t i = 0; i < count; i += kUnit, to.advance(kUnit)) {
    const int32_t column = begin + i;
    const Vector scale[2] = {hn::Set(d, scales.values[column >> shift]),
                             hn::Set(d, scales.values[(column + kScaledAlike) >> shift])};
    HWY_UNROLL(4)
    for (int32_t k = 0; k < kUnit; k += kStep) {
      const Pair pair = Element::load(from, i + k);
      Out::store({hn::Mul(pair.low, scale[k / kScaledAlike]),
                  hn::Mul(pair.high, scale[(k + kLanes) / kScaledAlike])},
                 to.at() + k);
    }
  }
}

template <typename Out>
void convert_segment(const Segment& segment, const RecordView& record, int32_t begin,
                     const Scales& scales, const PackedRow& row) {
  const auto* from = reinterpret_cast<const uint8_t*>(bytes_of(segment, record));
  switch (segment.type) {
    case ElementType::kFloat8E4M3:
      return convert<E4M3, Out>(from, begin, segment.count, scales, row);
    case ElementType::kFloat4E2M1:
      return convert<E2M1, Out>(from, begin, segment.count, scales, row);
    case ElementType::kInt8:
      return convert<Int8, Out>(from, begin, segment.count, scales, row);
    default: {  // bfloat16, which has no scale
      Columns<typename Out::Type> to(row, begin);
      for (int32_t i = 0; i < segment.count; i += kUnit, to.advance(kUnit)) {
        Out::copy(from + i * int32_t{sizeof(BFloat16)}, to.at());
      }
    }
  }
}

// By definition, number by number.
template <typename Out>
void convert_slowly(const CacheFormat& format, const RecordView& record, const PackedRow& row) {
  double values[kMostColumns];
  read_record(format, record, 1.0, values);
  Columns<typename Out::Type> to(row, 0);
  for (int32_t c = 0; c < format.columns(); ++c, to.advance(1)) {
    *to.at() = from_float<typename Out::Type>(static_cast<float>(values[c]));
  }
}

template <typename Out>
void pack_records(const PackedLayout& layout, const CacheFormat& format, const RecordRun& run,
                  int64_t begin, uint32_t* keys) {
  const int64_t depth_block =
      layout.depth_block_words * int64_t{sizeof(uint32_t) / sizeof(typename Out::Type)};
  const int32_t block_shift = std::countr_zero(static_cast<uint64_t>(depth_block));
  Scales scales;
  scales.group_shift =
      format.scales.count <= 1 ? 30 : std::countr_zero(static_cast<uint32_t>(format.scale_group));
  for (int64_t i = 0; i < run.count; ++i) {
    const RecordView record{run.first.row + i * run.row_stride_bytes,
                            run.first.tail + i * format.tail_bytes};
    const PackedRow row{keys + (begin + i) * layout.depth_block_words, layout.key_block_stride,
                        block_shift};
    if (!read_scales(format, record, &scales)) {
      convert_slowly<Out>(format, record, row);
      continue;
    }
    convert_segment<Out>(format.latent, record, 0, scales, row);
    convert_segment<Out>(format.rotary, record, format.latent.count, scales, row);
  }
}

RecordPackers packers() { return {pack_records<AsFloat>, pack_records<AsBf16>}; }

}  // namespace HWY_NAMESPACE
}  // namespace seesaw::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace seesaw::cpu {

RecordPackers record_packers([[maybe_unused]] Target target) {
#if HWY_TARGETS & HWY_AVX3
  if (target >= Target::kAvx512) {
    return N_AVX3::packers();
  }
#endif
#if HWY_TARGETS & HWY_AVX2
  if (target >= Target::kAvx2) {
    return N_AVX2::packers();
  }
#endif
  return HWY_STATIC_DISPATCH(packers)();
}

}  // namespace seesaw::cpu
#endif
