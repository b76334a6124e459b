// The microkernel of AVX-512's bfloat16 dot products (vdpbf16ps: 16 sums of pairs an instruction).
// Intrinsics in a target region: this file compiles without -march, and runs where the CPU has it.
#include "cpu/dequantize.hpp"
#include "cpu/exp2.hpp"
#include "cpu/microkernel.hpp"
#include "cpu/tile_loops.hpp"

#if defined(__x86_64__)
#include <immintrin.h>

// GCC 12's intrinsics pass an undefined vector where a mask keeps none of it, and warn about it
// (gcc.gnu.org PR 105593, fixed in 13).
#if !defined(__clang__) && __GNUC__ < 13
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#if defined(__clang__)
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")
#endif

#include "cpu/bf16_dot_packing.hpp"

namespace seesaw::cpu {
namespace {

struct Kernel {
  static constexpr int kMaxScoreVectors = 4;
  static constexpr int kMaxOutputVectors = 4;
  static constexpr int kOutputRows = 4;
  static constexpr int kDepthBlockWords = kBlockWords;
  static constexpr int kInPlaceTokenWords = seesaw::cpu::kInPlaceTokenWords;
  static constexpr bool kPairsRows = true;
  static constexpr int64_t lanes() { return kLanes; }

  // 16 accumulators (24 for three vectors): two dot products a cycle with a latency of six need 12.
  template <int kVectors>
  static constexpr int tokens_for() {
    return kVectors == 1 ? 16 : kVectors == 4 ? 4 : 8;
  }

  template <int kTokens, int kVectors, int kTokenWords>
  static void score_tile(const PackedLayout& layout, const ScoreTile& tile) {
    __m512 sum[kTokens][kVectors];
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        sum[t][v] = tile.accumulators == Accumulators::kStart
                        ? _mm512_setzero_ps()
                        : _mm512_load_ps(tile.scores + v * layout.score_vector_stride + t * kLanes);
      }
    }
    const uint32_t* query = tile.query;
    const uint32_t* keys = tile.keys;
    for (int64_t block = 0; block < tile.depth_blocks; ++block) {
      for (int64_t step = 0; step < kBlockWords; ++step) {
        if constexpr (kVectors == 1) {
          // All of a step's keys miss the first cache at once when a line ends, and with a load for
          // every product nothing runs ahead: fetch each token's next line, a token a step.
          const int64_t token = step % kWordsPerLine;
          _mm_prefetch(keys + token * kTokenWords + (step - token) + kWordsPerLine, _MM_HINT_T0);
        }
        __m512bh q[kVectors];
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          q[v] = as_bf16(_mm512_load_si512(query + v * layout.query_vector_stride + step * kLanes));
        }
#pragma GCC unroll 16
        for (int t = 0; t < kTokens; ++t) {
          const __m512bh k =
              as_bf16(_mm512_set1_epi32(static_cast<int>(keys[t * kTokenWords + step])));
#pragma GCC unroll 4
          for (int v = 0; v < kVectors; ++v) {
            sum[t][v] = _mm512_dpbf16_ps(sum[t][v], q[v], k);
          }
        }
      }
      query += kBlockWords * kLanes;
      keys += tile.key_block_stride;
    }
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        _mm512_store_ps(tile.scores + v * layout.score_vector_stride + t * kLanes, sum[t][v]);
      }
    }
  }

  // What an output tile's accumulators start from: the output so far, rescaled.
  template <int kRows, int kVectors>
  [[gnu::always_inline]] static inline void load_output(const PackedLayout& layout,
                                                        const OutputTile& tile,
                                                        __m512 (&sum)[kRows][kVectors]) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const __m512 rescale = _mm512_set1_ps(tile.rescale[r]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const float* output = tile.output + r * layout.output_stride + v * kLanes;
        sum[r][v] = tile.accumulators == Accumulators::kStart
                        ? _mm512_setzero_ps()
                        : _mm512_mul_ps(rescale, _mm512_load_ps(output));
      }
    }
  }

  template <int kRows, int kVectors>
  [[gnu::always_inline]] static inline void store_output(const PackedLayout& layout,
                                                         const OutputTile& tile,
                                                         const __m512 (&sum)[kRows][kVectors]) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        _mm512_store_ps(tile.output + r * layout.output_stride + v * kLanes, sum[r][v]);
      }
    }
  }

  template <int kRows, int kVectors>
  static void output_tile(const PackedLayout& layout, const OutputTile& tile) {
    __m512 sum[kRows][kVectors];
    load_output(layout, tile, sum);
    const uint32_t* weights = tile.weights;
    const uint32_t* values = tile.values;
    const char* prefetch = tile.prefetch;
    for (int64_t step = 0; step < tile.steps; ++step) {
      prefetch = fetch_ahead(prefetch, tile.prefetch_step);
      __m512bh value[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        value[v] = as_bf16(_mm512_load_si512(values + v * kLanes));
      }
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        const __m512bh weight = as_bf16(_mm512_set1_epi32(static_cast<int>(weights[r])));
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          sum[r][v] = _mm512_dpbf16_ps(sum[r][v], weight, value[v]);
        }
      }
      weights += kLanes;
      values += kColumnBlock;
    }
    store_output(layout, tile, sum);
  }

  // Two vectors of columns from the tokens' rows themselves: a pair of rows is interleaved in
  // registers for the 16 products of 8 rows. The line that the next columns start with is fetched.
  template <int kRows>
  static void output_tile_of_rows(const PackedLayout& layout, const OutputTile& tile,
                                  const PackedTokens& tokens, int64_t column) {
    constexpr int kVectors = 2;
    const Interleave interleave;
    __m512 sum[kRows][kVectors];
    load_output(layout, tile, sum);
    const uint32_t* weights = tile.weights;
    const char* prefetch = tile.prefetch;
    for (int64_t first = 0; first < tokens.count; first += kTileKeys) {
      const TileRows rows = rows_of(layout, tokens, first);
      const uint32_t* even =
          rows.first + column / kColumnBlock * rows.block_stride + column % kColumnBlock / 2;
      for (int64_t pair = 0; pair < pairs_of(tokens, first); ++pair) {
        prefetch = fetch_ahead(prefetch, tile.prefetch_step);
        _mm_prefetch(even + kWordsPerLine, _MM_HINT_T0);
        _mm_prefetch(even + rows.token_words + kWordsPerLine, _MM_HINT_T0);
        __m512i value[kVectors];
        interleave(even, even + rows.token_words, value);
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r) {
          const __m512bh weight = as_bf16(_mm512_set1_epi32(static_cast<int>(weights[r])));
#pragma GCC unroll 2
          for (int v = 0; v < kVectors; ++v) {
            sum[r][v] = _mm512_dpbf16_ps(sum[r][v], weight, as_bf16(value[v]));
          }
        }
        weights += kLanes;
        even += 2 * rows.token_words;
      }
    }
    store_output(layout, tile, sum);
  }
};

// 2^x for x <= 0 (or NaN, which stays). 2^x = 2^n 2^f, |f| <= 1/2; the polynomial's relative error
// is below 1e-8 (README.md), it is exactly 1 at 0, and 2^-inf is 0.
inline __m512 exp2_of(__m512 x) {
  // The second operand is returned if either is NaN; below 2^-150 everything rounds to zero.
  x = _mm512_max_ps(_mm512_set1_ps(-160.0F), x);
  const __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 f = _mm512_sub_ps(x, n);
  __m512 p = _mm512_set1_ps(kExp2Coefficients[0]);
#pragma GCC unroll 8
  for (int i = 1; i < kExp2Terms; ++i) {
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(kExp2Coefficients[i]));
  }
  return _mm512_scalef_ps(p, n);
}

// Scores of one token, those that a row does not attend as -inf.
inline __m512 scores_of(const SoftmaxTask& task, __m512i visible, int64_t token) {
  const __m512 scaled =
      _mm512_mul_ps(_mm512_load_ps(task.scores + token * kLanes), _mm512_set1_ps(task.scale_log2));
  const __mmask16 attended =
      _mm512_cmpgt_epi32_mask(visible, _mm512_set1_epi32(static_cast<int>(token)));
  return _mm512_mask_blend_ps(attended, _mm512_set1_ps(-__builtin_inff()), scaled);
}

// Tokens are independent: four running maxima hide the latency of one.
inline __m512 maximum_of(const SoftmaxTask& task, __m512i visible, __m512 running) {
  __m512 maximum[4] = {running, running, running, running};
  const int64_t whole = task.tokens / 4 * 4;
  for (int64_t token = 0; token < whole; token += 4) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      maximum[i] = _mm512_max_ps(maximum[i], scores_of(task, visible, token + i));
    }
  }
  for (int64_t token = whole; token < task.tokens; ++token) {
    maximum[0] = _mm512_max_ps(maximum[0], scores_of(task, visible, token));
  }
  return _mm512_max_ps(_mm512_max_ps(maximum[0], maximum[1]),
                       _mm512_max_ps(maximum[2], maximum[3]));
}

// Two tokens' weights, rounded, as a vector of pairs: interleaved like packed values.
inline __m512i pair_of(__m512 even, __m512 odd) {
  const __m512i both = from_bf16(_mm512_cvtne2ps_pbh(odd, even));  // even in the low half
  const __m512i low = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(both));
  const __m512i high = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(both, 1));
  return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

void softmax(const SoftmaxTask& task) {
  const __m512i visible =
      task.visible == nullptr ? _mm512_set1_epi32(INT32_MAX) : _mm512_loadu_si512(task.visible);
  const __m512 old_maximum = _mm512_load_ps(task.maximum);
  const __m512 maximum = maximum_of(task, visible, old_maximum);
  // A row that attended nothing yet has maximum -inf; measured against 0 its weights are 0, not
  // NaN.
  const __mmask16 empty =
      _mm512_cmp_ps_mask(maximum, _mm512_set1_ps(-__builtin_inff()), _CMP_EQ_OQ);
  const __m512 origin = _mm512_mask_blend_ps(empty, maximum, _mm512_setzero_ps());
  __m512 sum_even = _mm512_setzero_ps();
  __m512 sum_odd = _mm512_setzero_ps();
  const int64_t pairs = task.tokens / 2;
  for (int64_t pair = 0; pair < pairs; ++pair) {
    const __m512 even = exp2_of(_mm512_sub_ps(scores_of(task, visible, 2 * pair), origin));
    const __m512 odd = exp2_of(_mm512_sub_ps(scores_of(task, visible, 2 * pair + 1), origin));
    sum_even = _mm512_add_ps(sum_even, even);
    sum_odd = _mm512_add_ps(sum_odd, odd);
    _mm512_store_si512(task.weights + pair * kLanes, pair_of(even, odd));
  }
  if (task.tokens % 2 != 0) {
    const __m512 even = exp2_of(_mm512_sub_ps(scores_of(task, visible, 2 * pairs), origin));
    sum_even = _mm512_add_ps(sum_even, even);
    _mm512_store_si512(task.weights + pairs * kLanes, pair_of(even, _mm512_setzero_ps()));
  }
  const __m512 rescale = exp2_of(_mm512_sub_ps(old_maximum, origin));
  _mm512_store_ps(task.rescale, rescale);
  _mm512_store_ps(task.maximum, maximum);
  _mm512_store_ps(task.sum, _mm512_fmadd_ps(_mm512_load_ps(task.sum), rescale,
                                            _mm512_add_ps(sum_even, sum_odd)));
}

// Few rows use a packed value so few times that packing it costs more than pairing tokens again for
// every eighth row (docs/notebook/0043).
constexpr int64_t kPairedRows = 32;
static_assert(kPairedRows <= kRowBlock, "values that are not packed serve one block of rows");

void scores(const PackedLayout& layout, const ScoreTask& task) {
  for_score_tiles<Kernel>(layout, task);
}

void accumulate(const PackedLayout& layout, const AccumulateTask& task) {
  for_output_tiles<Kernel>(layout, task, ceil_div<int64_t>(task.tokens, 2));
}

}  // namespace
}  // namespace seesaw::cpu
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace seesaw::cpu {

const Microkernel* bf16_dot_microkernel() {
  static const Microkernel kernel = [] {
    // Rows of floats are handled alike for every way of multiplying.
    Microkernel merged = float_microkernel(Target::kAvx512);
    merged.name = "avx512bf16 (bf16 dot products)";
    merged.lanes = kLanes;
    merged.elements_per_word = 2;
    merged.values_are_keys = false;
    merged.unpacked_rows = kPairedRows;
    merged.pack_query = pack_query;
    merged.pack_keys = pack_keys;
    merged.pack_records = record_packers(Target::kAvx512).as_bf16;
    merged.reads_in_place = reads_in_place;
    merged.pack_values = pack_values;
    merged.scores = scores;
    merged.softmax = softmax;
    merged.accumulate = accumulate;
    return merged;
  }();
  return &kernel;
}

}  // namespace seesaw::cpu

#else

namespace seesaw::cpu {
const Microkernel* bf16_dot_microkernel() { return nullptr; }
}  // namespace seesaw::cpu

#endif
