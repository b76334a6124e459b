// The microkernel of float multiply-adds, for every mix of dtypes, by Google Highway: this file is
// compiled once for each instruction set of kTargets below, in a namespace of its own.
#include "cpu/microkernel.hpp"

#include <algorithm>
#include <cstring>

#include "base/float16.hpp"
#include "cpu/dequantize.hpp"
#include "cpu/exp2.hpp"
#include "cpu/tile_loops.hpp"

// Only what select.cpp tells apart; vectors without a fixed size cannot form register tiles.
#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/float_microkernel.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace seesaw::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::CappedTag<float, kMaxLanes>;
using Vector = hn::Vec<Floats>;
constexpr int64_t kLanes = hn::MaxLanes(Floats());
constexpr Target kTarget = HWY_TARGET == HWY_AVX3   ? Target::kAvx512
                           : HWY_TARGET == HWY_AVX2 ? Target::kAvx2
                                                    : Target::kBaseline;
constexpr bool kFewRegisters = HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_EMU128;
// Highway 1.0.3 emulates conversions of halves without infinities and NaN.
constexpr bool kHasHalfConversion = HWY_TARGET != HWY_EMU128 && HWY_TARGET != HWY_SCALAR;

inline float* as_floats(uint32_t* words) { return reinterpret_cast<float*>(words); }
inline const float* as_floats(const uint32_t* words) {
  return reinterpret_cast<const float*>(words);
}

inline Vector load(const float* p) { return hn::LoadU(Floats(), p); }
inline Vector load(const BFloat16* p) {
  const hn::Rebind<hwy::bfloat16_t, Floats> d;
  return hn::PromoteTo(Floats(), hn::LoadU(d, reinterpret_cast<const hwy::bfloat16_t*>(p)));
}
inline Vector load(const Float16* p) {
  if constexpr (kHasHalfConversion) {
    const hn::Rebind<hwy::float16_t, Floats> d;
    return hn::PromoteTo(Floats(), hn::LoadU(d, reinterpret_cast<const hwy::float16_t*>(p)));
  } else {
    alignas(64) float lanes[kMaxLanes];
    std::transform(p, p + kLanes, lanes, [](Float16 value) { return to_float(value); });
    return hn::Load(Floats(), lanes);
  }
}

// Converts `count` elements and zero-fills to a depth block; reads nothing past `count`.
template <typename T>
void convert_block(const T* source, int64_t count, float* target) {
  const int64_t whole = count / kLanes * kLanes;
  for (int64_t i = 0; i < whole; i += kLanes) {
    hn::Store(load(source + i), Floats(), target + i);
  }
  for (int64_t i = whole; i < kDepthBlock; i += kLanes) {
    T tail[kMaxLanes] = {};
    if (i < count) {
      std::memcpy(tail, source + i, static_cast<size_t>(count - i) * sizeof(T));
    }
    hn::Store(load(tail), Floats(), target + i);
  }
}

template <typename T>
void pack_keys_of(const PackedLayout& layout, const TokenRun& run, int64_t begin, float* keys) {
  const auto* source = static_cast<const char*>(run.first);
  for (int64_t i = 0; i < run.count; ++i) {
    const T* row = reinterpret_cast<const T*>(source + i * run.stride_bytes);
    float* target = keys + (begin + i) * kDepthBlock;
    for (int64_t block = 0; block < layout.depth_blocks; ++block) {
      const int64_t element = block * kDepthBlock;
      convert_block(row + element, std::min(kDepthBlock, layout.d_qk - element),
                    target + block * layout.key_block_stride);
    }
  }
}

void pack_keys(const PackedLayout& layout, const TokenRun& run, DType dtype, int64_t begin,
               uint32_t* keys) {
  switch (dtype) {
    case DType::kBFloat16:
      return pack_keys_of<BFloat16>(layout, run, begin, as_floats(keys));
    case DType::kFloat16:
      return pack_keys_of<Float16>(layout, run, begin, as_floats(keys));
    default:
      return pack_keys_of<float>(layout, run, begin, as_floats(keys));
  }
}

template <typename T>
void pack_query_of(const PackedLayout& layout, const void* const* rows, float* query) {
  alignas(64) float row_block[kDepthBlock];
  for (int64_t block = 0; block < layout.depth_blocks; ++block) {
    const int64_t element = block * kDepthBlock;
    float* target = query + element * kLanes;
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const T* row = static_cast<const T*>(rows[lane]);
      const int64_t count = row == nullptr ? 0 : std::min(kDepthBlock, layout.d_qk - element);
      convert_block(count > 0 ? row + element : nullptr, count, row_block);
      for (int64_t i = 0; i < kDepthBlock; ++i) {
        target[i * kLanes + lane] = row_block[i];
      }
    }
  }
}

void pack_query(const PackedLayout& layout, const void* const* rows, DType dtype, uint32_t* query) {
  switch (dtype) {
    case DType::kBFloat16:
      return pack_query_of<BFloat16>(layout, rows, as_floats(query));
    case DType::kFloat16:
      return pack_query_of<Float16>(layout, rows, as_floats(query));
    default:
      return pack_query_of<float>(layout, rows, as_floats(query));
  }
}

bool reads_in_place(const PackedLayout&, const TokenRun&) { return false; }

// The keys serve as values: only the padding is left to do.
void pack_values(const PackedLayout& layout, const PackedTokens& tokens, int64_t /*begin*/) {
  const int64_t padded = round_up(tokens.count, kTileKeys);
  for (int64_t block = 0; block < layout.depth_blocks; ++block) {
    uint32_t* keys = tokens.keys + block * layout.key_block_stride;
    std::fill(keys + tokens.count * kDepthBlock, keys + padded * kDepthBlock, 0u);
  }
}

struct Kernel {
  static constexpr int kMaxScoreVectors = kFewRegisters ? 2 : 4;
  static constexpr int kMaxOutputVectors = kFewRegisters ? 2 : 4;
  static constexpr int kOutputRows = 4;
  static constexpr int kDepthBlockWords = kDepthBlock;
  static constexpr int kInPlaceTokenWords = 0;
  static constexpr bool kPairsRows = false;
  static constexpr int64_t lanes() { return kLanes; }

  // 8 accumulators of 16 registers, 16 (or 24) of 32: two multiply-adds a cycle, latency four.
  template <int kVectors>
  static constexpr int tokens_for() {
    constexpr int kAccumulators = kFewRegisters ? 8 : 16;
    return kVectors == 3 ? 8 : kAccumulators / kVectors;
  }

  template <int kTokens, int kVectors, int kTokenWords>
  static void score_tile(const PackedLayout& layout, const ScoreTile& tile) {
    const Floats d;
    Vector sum[kTokens][kVectors];
    HWY_UNROLL(16)
    for (int t = 0; t < kTokens; ++t) {
      HWY_UNROLL(4)
      for (int v = 0; v < kVectors; ++v) {
        sum[t][v] = tile.accumulators == Accumulators::kStart
                        ? hn::Zero(d)
                        : hn::Load(d, tile.scores + v * layout.score_vector_stride + t * kLanes);
      }
    }
    const float* query = as_floats(tile.query);
    const float* keys = as_floats(tile.keys);
    for (int64_t block = 0; block < tile.depth_blocks; ++block) {
      for (int64_t step = 0; step < kDepthBlock; ++step) {
        Vector q[kVectors];
        HWY_UNROLL(4)
        for (int v = 0; v < kVectors; ++v) {
          q[v] = hn::Load(d, query + v * layout.query_vector_stride + step * kLanes);
        }
        HWY_UNROLL(16)
        for (int t = 0; t < kTokens; ++t) {
          const Vector k = hn::Set(d, keys[t * kTokenWords + step]);
          HWY_UNROLL(4)
          for (int v = 0; v < kVectors; ++v) {
            sum[t][v] = hn::MulAdd(q[v], k, sum[t][v]);
          }
        }
      }
      query += kDepthBlock * kLanes;
      keys += tile.key_block_stride;
    }
    HWY_UNROLL(16)
    for (int t = 0; t < kTokens; ++t) {
      HWY_UNROLL(4)
      for (int v = 0; v < kVectors; ++v) {
        hn::Store(sum[t][v], d, tile.scores + v * layout.score_vector_stride + t * kLanes);
      }
    }
  }

  template <int kRows, int kVectors>
  static void output_tile(const PackedLayout& layout, const OutputTile& tile) {
    const Floats d;
    Vector sum[kRows][kVectors];
    HWY_UNROLL(4)
    for (int r = 0; r < kRows; ++r) {
      const Vector rescale = hn::Set(d, tile.rescale[r]);
      HWY_UNROLL(4)
      for (int v = 0; v < kVectors; ++v) {
        const float* output = tile.output + r * layout.output_stride + v * kLanes;
        sum[r][v] = tile.accumulators == Accumulators::kStart
                        ? hn::Zero(d)
                        : hn::Mul(rescale, hn::Load(d, output));
      }
    }
    const float* weights = as_floats(tile.weights);
    const float* values = as_floats(tile.values);
    const char* prefetch = tile.prefetch;
    for (int64_t step = 0; step < tile.steps; ++step) {
      prefetch = fetch_ahead(prefetch, tile.prefetch_step);
      Vector value[kVectors];
      HWY_UNROLL(4)
      for (int v = 0; v < kVectors; ++v) {
        value[v] = hn::Load(d, values + v * kLanes);
      }
      HWY_UNROLL(4)
      for (int r = 0; r < kRows; ++r) {
        const Vector weight = hn::Set(d, weights[r]);
        HWY_UNROLL(4)
        for (int v = 0; v < kVectors; ++v) {
          sum[r][v] = hn::MulAdd(weight, value[v], sum[r][v]);
        }
      }
      weights += kLanes;
      values += kColumnBlock;
    }
    HWY_UNROLL(4)
    for (int r = 0; r < kRows; ++r) {
      HWY_UNROLL(4)
      for (int v = 0; v < kVectors; ++v) {
        hn::Store(sum[r][v], d, tile.output + r * layout.output_stride + v * kLanes);
      }
    }
  }
};

void scores(const PackedLayout& layout, const ScoreTask& task) {
  for_score_tiles<Kernel>(layout, task);
}

void accumulate(const PackedLayout& layout, const AccumulateTask& task) {
  for_output_tiles<Kernel>(layout, task, task.tokens);
}

// 2^x for x <= 0, by exp2.hpp; NaN stays. Below the least normal exponent: 0.
inline Vector exp2_of(Vector x) {
  const Floats d;
  const auto underflow = hn::Lt(x, hn::Set(d, -126.0F));
  x = hn::IfThenElse(underflow, hn::Zero(d), x);
  const Vector n = hn::Round(x);
  const Vector f = hn::Sub(x, n);
  Vector p = hn::Set(d, kExp2Coefficients[0]);
  for (int i = 1; i < kExp2Terms; ++i) {
    p = hn::MulAdd(p, f, hn::Set(d, kExp2Coefficients[i]));
  }
  const hn::RebindToSigned<Floats> di;
  const auto exponent = hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(di, n), hn::Set(di, 127)));
  return hn::IfThenElse(underflow, hn::Zero(d), hn::Mul(p, hn::BitCast(d, exponent)));
}

// Scores of one token, those that a row does not attend as -inf.
template <typename Visible>
inline Vector scores_of(const SoftmaxTask& task, Visible visible, int64_t token) {
  const Floats d;
  const hn::RebindToSigned<Floats> di;
  const Vector scaled =
      hn::Mul(hn::Load(d, task.scores + token * kLanes), hn::Set(d, task.scale_log2));
  const auto attended = hn::Gt(visible, hn::Set(di, static_cast<int32_t>(token)));
  return hn::IfThenElse(hn::RebindMask(d, attended), scaled, hn::Set(d, -__builtin_inff()));
}

void softmax(const SoftmaxTask& task) {
  const Floats d;
  const hn::RebindToSigned<Floats> di;
  const auto visible =
      task.visible == nullptr ? hn::Set(di, INT32_MAX) : hn::LoadU(di, task.visible);
  const Vector old_maximum = hn::Load(d, task.maximum);
  Vector maximum = old_maximum;
  for (int64_t token = 0; token < task.tokens; ++token) {
    maximum = hn::Max(maximum, scores_of(task, visible, token));
  }
  // A row that attended nothing yet has maximum -inf; measured against 0 its weights are 0, not
  // NaN.
  const auto empty = hn::Eq(maximum, hn::Set(d, -__builtin_inff()));
  const Vector origin = hn::IfThenElse(empty, hn::Zero(d), maximum);
  Vector sum = hn::Zero(d);
  for (int64_t token = 0; token < task.tokens; ++token) {
    const Vector weight = exp2_of(hn::Sub(scores_of(task, visible, token), origin));
    sum = hn::Add(sum, weight);
    hn::Store(weight, d, as_floats(task.weights) + token * kLanes);
  }
  const Vector rescale = exp2_of(hn::Sub(old_maximum, origin));
  hn::Store(rescale, d, task.rescale);
  hn::Store(maximum, d, task.maximum);
  hn::Store(hn::MulAdd(hn::Load(d, task.sum), rescale, sum), d, task.sum);
}

void scale_row(const float* values, float factor, int64_t count, Accumulators accumulators,
               float* sum) {
  const Floats d;
  const Vector scale = hn::Set(d, factor);
  for (int64_t i = 0; i < count; i += kLanes) {
    const Vector value = hn::Load(d, values + i);
    hn::Store(accumulators == Accumulators::kStart ? hn::Mul(scale, value)
                                                   : hn::MulAdd(scale, value, hn::Load(d, sum + i)),
              d, sum + i);
  }
}

inline void store(Vector value, float* p) { hn::StoreU(value, Floats(), p); }

// Rounds to nearest even as base/float16.hpp does.
inline void store(Vector value, BFloat16* p) {
  const hn::RebindToUnsigned<Floats> du;
  const auto bits = hn::BitCast(du, value);
  const auto lowest_kept = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
  const auto rounded = hn::Add(bits, hn::Add(lowest_kept, hn::Set(du, 0x7FFFu)));
  const auto quiet = hn::Or(bits, hn::Set(du, 0x400000u));
  const auto chosen = hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(value)), quiet, rounded);
  const hn::RebindToSigned<Floats> di;
  const hn::Rebind<uint16_t, Floats> d16;
  const auto narrow = hn::DemoteTo(d16, hn::BitCast(di, hn::ShiftRight<16>(chosen)));
  hn::StoreU(narrow, d16, reinterpret_cast<uint16_t*>(p));
}

inline void store(Vector value, Float16* p) {
  if constexpr (kHasHalfConversion) {
    const hn::Rebind<hwy::float16_t, Floats> d16;
    hn::StoreU(hn::DemoteTo(d16, value), d16, reinterpret_cast<hwy::float16_t*>(p));
  } else {
    alignas(64) float lanes[kMaxLanes];
    hn::Store(value, Floats(), lanes);
    std::transform(lanes, lanes + kLanes, p, from_float<Float16>);
  }
}

template <typename T>
void store_row_of(const float* values, float factor, int64_t count, T* out) {
  const Floats d;
  const Vector scale = hn::Set(d, factor);
  const int64_t whole = count / kLanes * kLanes;
  for (int64_t i = 0; i < whole; i += kLanes) {
    store(hn::Mul(scale, hn::Load(d, values + i)), out + i);
  }
  if (whole < count) {
    T tail[kMaxLanes];
    store(hn::Mul(scale, hn::Load(d, values + whole)), tail);
    std::memcpy(out + whole, tail, static_cast<size_t>(count - whole) * sizeof(T));
  }
}

void store_row(const float* values, float factor, int64_t count, DType dtype, void* out) {
  switch (dtype) {
    case DType::kBFloat16:
      return store_row_of(values, factor, count, static_cast<BFloat16*>(out));
    case DType::kFloat16:
      return store_row_of(values, factor, count, static_cast<Float16*>(out));
    default:
      return store_row_of(values, factor, count, static_cast<float*>(out));
  }
}

const Microkernel& microkernel() {
  static const Microkernel kernel{
      .name = HWY_TARGET == HWY_AVX3   ? "avx512 (float multiply-add)"
              : HWY_TARGET == HWY_AVX2 ? "avx2 (float multiply-add)"
                                       : "baseline (float multiply-add)",
      .lanes = kLanes,
      .elements_per_word = 1,
      .values_are_keys = true,
      .pack_query = pack_query,
      .pack_keys = pack_keys,
      .pack_records = record_packers(kTarget).as_float,
      .reads_in_place = reads_in_place,
      .pack_values = pack_values,
      .scores = scores,
      .softmax = softmax,
      .accumulate = accumulate,
      .scale_row = scale_row,
      .store_row = store_row,
  };
  return kernel;
}

}  // namespace HWY_NAMESPACE
}  // namespace seesaw::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace seesaw::cpu {

const Microkernel& float_microkernel([[maybe_unused]] Target target) {
#if HWY_TARGETS & HWY_AVX3
  if (target >= Target::kAvx512) {
    return N_AVX3::microkernel();
  }
#endif
#if HWY_TARGETS & HWY_AVX2
  if (target >= Target::kAvx2) {
    return N_AVX2::microkernel();
  }
#endif
  return HWY_STATIC_DISPATCH(microkernel)();
}

}  // namespace seesaw::cpu
#endif
