// This file is compiled once for each instruction set of Highway's, in a namespace of its own.
#include "baselines/cpu/rows.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/float16.hpp"

// Those of src/cpu; vectors without a fixed size would need other loops.
#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "baselines/cpu/rows.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace seesaw::baselines::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr size_t kMaxLanes = 16;
using Floats = hn::CappedTag<float, kMaxLanes>;
using Words = hn::RebindToUnsigned<Floats>;
using Vector = hn::Vec<Floats>;
constexpr int64_t kLanes = hn::MaxLanes(Floats());
// Highway 1.0.3 emulates conversions of halves without infinities and NaN.
constexpr bool kHasHalfConversion = HWY_TARGET != HWY_EMU128 && HWY_TARGET != HWY_SCALAR;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

inline Vector load(const float* p) { return hn::LoadU(Floats(), p); }
inline Vector load(const BFloat16* p) {
  const hn::Rebind<uint16_t, Floats> half;
  const auto bits = hn::PromoteTo(Words(), hn::LoadU(half, reinterpret_cast<const uint16_t*>(p)));
  return hn::BitCast(Floats(), hn::ShiftLeft<16>(bits));
}
inline Vector load(const Float16* p) {
  if constexpr (kHasHalfConversion) {
    const hn::Rebind<hwy::float16_t, Floats> half;
    return hn::PromoteTo(Floats(), hn::LoadU(half, reinterpret_cast<const hwy::float16_t*>(p)));
  } else {
    alignas(64) float lanes[kMaxLanes];
    std::transform(p, p + kLanes, lanes, [](Float16 value) { return to_float(value); });
    return hn::Load(Floats(), lanes);
  }
}

inline void store(Vector value, float* p) { hn::StoreU(value, Floats(), p); }
inline void store(Vector value, BFloat16* p) {
  const auto bits = hn::BitCast(Words(), value);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(Words(), 1u));
  const auto rounded = hn::Add(hn::Add(bits, hn::Set(Words(), 0x7FFFu)), odd);
  const auto quiet = hn::Or(bits, hn::Set(Words(), 0x400000u));
  const auto is_nan = hn::RebindMask(Words(), hn::IsNaN(value));
  const auto top = hn::ShiftRight<16>(hn::IfThenElse(is_nan, quiet, rounded));
  const hn::Rebind<uint16_t, Floats> half;
  hn::StoreU(hn::DemoteTo(half, hn::BitCast(hn::RebindToSigned<Floats>(), top)), half,
             reinterpret_cast<uint16_t*>(p));
}
inline void store(Vector value, Float16* p) {
  if constexpr (kHasHalfConversion) {
    const hn::Rebind<hwy::float16_t, Floats> half;
    hn::StoreU(hn::DemoteTo(half, value), half, reinterpret_cast<hwy::float16_t*>(p));
  } else {
    alignas(64) float lanes[kMaxLanes];
    hn::Store(value, Floats(), lanes);
    std::transform(lanes, lanes + kLanes, p, [](float x) { return from_float<Float16>(x); });
  }
}

// e^x for x <= 0; below e^-87 zero. NaN stays. 2^f for |f| <= 1/2 is its Taylor polynomial in
// f ln 2 up to the 6th power, whose error, 1.2e-7, is one rounding of a float; that of the exponent
// adds 6e-8 |x|, no more than the rounding of a score of that size.
inline Vector exp_of_negative(Vector x) {
  const Floats d;
  const Vector exponent = hn::Mul(x, hn::Set(d, 1.4426950408889634F));
  const auto vanishes = hn::Lt(exponent, hn::Set(d, -126.0F));
  const Vector bounded = hn::IfThenElse(vanishes, hn::Set(d, -126.0F), exponent);
  const Vector whole = hn::Round(bounded);
  const Vector f = hn::Sub(bounded, whole);
  Vector power = hn::Set(d, 1.5403530e-4F);
  for (const float coefficient :
       {1.3333558e-3F, 9.6181291e-3F, 5.5504109e-2F, 2.4022651e-1F, 6.9314718e-1F, 1.0F}) {
    power = hn::MulAdd(power, f, hn::Set(d, coefficient));
  }
  const hn::RebindToSigned<Floats> integers;
  const auto bits =
      hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(integers, whole), hn::Set(integers, 127)));
  return hn::IfThenZeroElse(vanishes, hn::Mul(power, hn::BitCast(d, bits)));
}

// Calls body(vector, place) for every vector of the row; the last one is padded with `padding`, and
// only its part of the row is stored back.
template <typename Body>
inline void for_each_vector(float* row, int64_t count, float padding, Body&& body) {
  const int64_t whole = count / kLanes * kLanes;
  for (int64_t i = 0; i < whole; i += kLanes) {
    store(body(load(row + i)), row + i);
  }
  if (whole < count) {
    alignas(64) float lanes[kMaxLanes];
    std::fill(lanes, lanes + kMaxLanes, padding);
    std::copy(row + whole, row + count, lanes);
    hn::Store(body(hn::Load(Floats(), lanes)), Floats(), lanes);
    std::copy(lanes, lanes + (count - whole), row + whole);
  }
}

// Scores become scale * scores, hidden ones -inf.
void scale_and_hide(const SoftmaxRow& row) {
  const Vector scale = hn::Set(Floats(), row.scale);
  for_each_vector(row.scores, row.visible, 0.0F, [&](Vector v) { return hn::Mul(v, scale); });
  if (row.mask != nullptr) {
    for (int64_t i = 0; i < row.visible; ++i) {
      row.scores[i] = row.mask[i * row.mask_stride] != 0 ? row.scores[i] : -kInfinity;
    }
  }
}

template <typename T>
void convert(const float* from, T* to, int64_t count, float factor) {
  const Vector scale = hn::Set(Floats(), factor);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    store(hn::Mul(load(from + i), scale), to + i);
  }
  for (; i < count; ++i) {
    to[i] = from_float<T>(from[i] * factor);
  }
}

template <typename T>
void finish(const SoftmaxRow& row, float factor) {
  auto* out = static_cast<T*>(row.probabilities);
  convert(row.scores, out, row.visible, factor);
  std::fill(out + row.visible, out + row.count, T{});
}

void finish_row(const SoftmaxRow& row, float factor) {
  switch (row.dtype) {
    case DType::kBFloat16:
      return finish<BFloat16>(row, factor);
    case DType::kFloat16:
      return finish<Float16>(row, factor);
    default:
      return finish<float>(row, factor);
  }
}

// Of a row whose greatest seen score is no number to subtract, or which sees nothing: NaN where a
// score is seen, 0 where the mask hides it.
void finish_without_softmax(const SoftmaxRow& row) {
  for (int64_t i = 0; i < row.visible; ++i) {
    const bool seen = row.mask == nullptr || row.mask[i * row.mask_stride] != 0;
    row.scores[i] = seen ? std::numeric_limits<float>::quiet_NaN() : 0.0F;
  }
  finish_row(row, 1.0F);
}

// Not MaxOfLanes: Highway's emulated vectors begin it with the lowest finite number, and of nothing
// but -inf that would be the greatest.
inline float greatest_lane(Vector value) {
  alignas(64) float lanes[kMaxLanes];
  hn::Store(value, Floats(), lanes);
  return *std::max_element(lanes, lanes + kLanes);
}

void softmax_row(const SoftmaxRow& row) {
  const Floats d;
  scale_and_hide(row);
  Vector greatest = hn::Set(d, -kInfinity);
  auto is_nan = hn::IsNaN(greatest);
  for_each_vector(row.scores, row.visible, -kInfinity, [&](Vector v) {
    greatest = hn::Max(greatest, v);
    is_nan = hn::Or(is_nan, hn::IsNaN(v));
    return v;
  });
  const float maximum = greatest_lane(greatest);
  if (!hn::AllFalse(d, is_nan) || !std::isfinite(maximum)) {
    return finish_without_softmax(row);
  }
  Vector sum = hn::Zero(d);
  for_each_vector(row.scores, row.visible, -kInfinity, [&](Vector v) {
    const Vector weight = exp_of_negative(hn::Sub(v, hn::Set(d, maximum)));
    sum = hn::Add(sum, weight);
    return weight;
  });
  finish_row(row, 1.0F / hn::GetLane(hn::SumOfLanes(d, sum)));
}

template <typename From, typename To>
void convert_between(const void* from, void* to, int64_t count) {
  const auto* source = static_cast<const From*>(from);
  auto* target = static_cast<To*>(to);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    store(load(source + i), target + i);
  }
  for (; i < count; ++i) {
    target[i] = from_float<To>(to_float(source[i]));
  }
}

template <typename From>
void convert_from(const void* from, void* to, DType to_dtype, int64_t count) {
  switch (to_dtype) {
    case DType::kBFloat16:
      return convert_between<From, BFloat16>(from, to, count);
    case DType::kFloat16:
      return convert_between<From, Float16>(from, to, count);
    default:
      return convert_between<From, float>(from, to, count);
  }
}

void convert_row(const void* from, DType from_dtype, void* to, DType to_dtype, int64_t count) {
  switch (from_dtype) {
    case DType::kBFloat16:
      return convert_from<BFloat16>(from, to, to_dtype, count);
    case DType::kFloat16:
      return convert_from<Float16>(from, to, to_dtype, count);
    default:
      return convert_from<float>(from, to, to_dtype, count);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace seesaw::baselines::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace seesaw::baselines::cpu {

HWY_EXPORT(softmax_row);
HWY_EXPORT(convert_row);

void softmax_row(const SoftmaxRow& row) { HWY_DYNAMIC_DISPATCH(softmax_row)(row); }

void convert_row(const void* from, DType from_dtype, void* to, DType to_dtype, int64_t count) {
  if (from_dtype == to_dtype) {
    std::memcpy(to, from, static_cast<size_t>(count * size_of(from_dtype)));
    return;
  }
  HWY_DYNAMIC_DISPATCH(convert_row)(from, from_dtype, to, to_dtype, count);
}

}  // namespace seesaw::baselines::cpu
#endif  // HWY_ONCE
