// How bfloat16 is packed for pairwise dot products. Part of bf16_dot_microkernel.cpp, which
// includes it inside its target region: nothing here compiles for the baseline instruction set.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

#include "base/math.hpp"
#include "cpu/microkernel.hpp"

namespace seesaw::cpu {
namespace {

constexpr int kLanes = 16;
constexpr int kBlockWords = kDepthBlock / 2;  // pairs of a depth block

inline __m512bh as_bf16(__m512i words) { return reinterpret_cast<__m512bh>(words); }
inline __m512i from_bf16(__m512bh pairs) { return reinterpret_cast<__m512i>(pairs); }

// 16 rows of 16 words become 16 columns: four rounds of interleaving, each doubling what lies
// together (32, 64, 128, 256 bits).
inline void transpose_16x16(__m512i (&r)[16]) {
  __m512i t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[4 + i], 0x88);
    t[4 + i] = _mm512_shuffle_i32x4(r[i], r[4 + i], 0xDD);
    t[8 + i] = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0x88);
    t[12 + i] = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0xDD);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0x88);
    r[8 + i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0xDD);
    r[4 + i] = _mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0x88);
    r[12 + i] = _mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0xDD);
  }
}

// Elements [begin, begin + 32) of a row of `count`, zero past its end; reads nothing there.
inline __m512i load_elements(const uint16_t* row, int64_t begin, int64_t count) {
  const int64_t left = count - begin;
  if (left >= 32) {
    return _mm512_loadu_si512(row + begin);
  }
  const __mmask32 mask = left > 0 ? static_cast<__mmask32>((uint64_t{1} << left) - 1) : 0;
  return _mm512_maskz_loadu_epi16(mask, row + begin);
}

void pack_query(const PackedLayout& layout, const void* const* rows, DType, uint32_t* query) {
  const int64_t words = layout.depth_blocks * kBlockWords;
  for (int64_t word = 0; word < words; word += kLanes) {
    __m512i block[16];
    for (int lane = 0; lane < kLanes; ++lane) {
      const auto* row = static_cast<const uint16_t*>(rows[lane]);
      block[lane] =
          row == nullptr ? _mm512_setzero_si512() : load_elements(row, 2 * word, layout.d_qk);
    }
    transpose_16x16(block);
    for (int i = 0; i < 16; ++i) {
      _mm512_store_si512(query + (word + i) * kLanes, block[i]);
    }
  }
}

void pack_keys(const PackedLayout& layout, const TokenRun& run, DType, int64_t begin,
               uint32_t* keys) {
  const auto* source = static_cast<const char*>(run.first);
  uint32_t* target = keys + begin * kBlockWords;
  for (int64_t i = 0; i < run.count; ++i) {
    const auto* row = reinterpret_cast<const uint16_t*>(source + i * run.stride_bytes);
    for (int64_t block = 0; block < layout.depth_blocks; ++block) {
      uint32_t* words = target + block * layout.key_block_stride + i * kBlockWords;
      const int64_t element = block * kDepthBlock;
      _mm512_store_si512(words, load_elements(row, element, layout.d_qk));
      _mm512_store_si512(words + 16, load_elements(row, element + 32, layout.d_qk));
    }
  }
}

// Rows of the models that use latent attention: 576 bfloat16, without a gap between tokens.
constexpr int kInPlaceTokenWords = 288;

bool reads_in_place(const PackedLayout& layout, const TokenRun& run) {
  constexpr int64_t kRowBytes = kInPlaceTokenWords * int64_t{sizeof(uint32_t)};
  return run.count >= kTileKeys && run.stride_bytes == kRowBytes &&
         layout.d_qk == 2 * kInPlaceTokenWords &&
         reinterpret_cast<uintptr_t>(run.first) % sizeof(uint32_t) == 0;
}

void clear_padding(const PackedLayout& layout, const PackedTokens& tokens) {
  const int64_t padded = round_up(tokens.count, kTileKeys);
  for (int64_t block = 0; block < layout.depth_blocks; ++block) {
    uint32_t* keys = tokens.keys + block * layout.key_block_stride;
    for (int64_t word = tokens.count * kBlockWords; word < padded * kBlockWords; word += kLanes) {
      _mm512_store_si512(keys + word, _mm512_setzero_si512());
    }
  }
}

// A pair of tokens' rows becomes one row of pairs: a0 b0 a1 b1 ...
struct Interleave {
  __m512i low, high;

  Interleave() {
    alignas(64) uint16_t index[32];
    for (uint16_t i = 0; i < 32; ++i) {
      index[i] = static_cast<uint16_t>(i / 2 + (i % 2) * 32);
    }
    low = _mm512_load_si512(index);
    high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
  }

  // 32 elements of each row, as two vectors of pairs.
  void operator()(const uint32_t* even_row, const uint32_t* odd_row, __m512i (&pairs)[2]) const {
    const __m512i even = _mm512_loadu_si512(even_row);
    const __m512i odd = _mm512_loadu_si512(odd_row);
    pairs[0] = _mm512_permutex2var_epi16(even, low, odd);
    pairs[1] = _mm512_permutex2var_epi16(even, high, odd);
  }

  void operator()(const uint32_t* even_row, const uint32_t* odd_row, uint32_t* target) const {
    __m512i pairs[2];
    (*this)(even_row, odd_row, pairs);
    _mm512_store_si512(target, pairs[0]);
    _mm512_store_si512(target + 16, pairs[1]);
  }
};

// Where the rows of a tile are, and how far their parts lie from each other, in words.
struct TileRows {
  const uint32_t* first;
  int64_t token_words;
  int64_t block_stride;
};

TileRows rows_of(const PackedLayout& layout, const PackedTokens& tokens, int64_t tile) {
  const void* in_place = tokens.in_place[tile / kTileKeys];
  if (in_place == nullptr) {
    return {tokens.keys + tile * kBlockWords, kBlockWords, layout.key_block_stride};
  }
  return {static_cast<const uint32_t*>(in_place), kInPlaceTokenWords, kBlockWords};
}

int64_t pairs_of(const PackedTokens& tokens, int64_t tile) {
  return ceil_div(std::min(kTileKeys, tokens.count - tile), int64_t{2});
}

void pack_values(const PackedLayout& layout, const PackedTokens& tokens, int64_t begin) {
  const Interleave interleave;
  const int64_t column_blocks = ceil_div(layout.d_v, kColumnBlock);
  for (int64_t tile = begin; tile < tokens.count; tile += kTileKeys) {
    const TileRows rows = rows_of(layout, tokens, tile);
    if (tokens.count - tile < kTileKeys) {  // only packed rows can end within a tile
      clear_padding(layout, tokens);
    }
    for (int64_t pair = 0; pair < pairs_of(tokens, tile); ++pair) {
      const uint32_t* even = rows.first + 2 * pair * rows.token_words;
      uint32_t* values = tokens.values + (tile / 2 + pair) * kColumnBlock;
      for (int64_t block = 0; block < column_blocks; ++block) {
        interleave(even, even + rows.token_words, values);
        interleave(even + 16, even + rows.token_words + 16, values + 32);
        even += rows.block_stride;
        values += layout.value_block_stride;
      }
    }
  }
}

}  // namespace
}  // namespace seesaw::cpu
