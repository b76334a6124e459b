// Eight columns of a record: their bytes, their numbers, and rows of numbers. Chunks that are not
// aligned, or not whole, go byte by byte.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/float8.hpp"
#include "core/element_type.hpp"
#include "gpu/ptx/convert.cuh"

namespace seesaw::gpu {

inline constexpr int kChunk = 8;  // columns

// The bytes of up to eight elements, the first in the lowest.
struct Chunk {
  uint32_t word[8];
};

template <typename Words>
__device__ void load_words(const std::byte* from, Chunk* chunk) {
  const Words words = *reinterpret_cast<const Words*>(from);
  std::memcpy(chunk->word, &words, sizeof(words));
}

__device__ inline uint32_t load_bytes(const std::byte* from, int count) {
  uint32_t word = 0;
  for (int i = 0; i < count; ++i) {
    word |= static_cast<uint32_t>(from[i]) << (8 * i);
  }
  return word;
}

// `count` of 8 elements of `bits` bits.
__device__ inline Chunk load_chunk(const std::byte* from, int bits, int count, bool aligned) {
  Chunk chunk = {};
  if (!aligned || count < kChunk) {
    const int bytes = (count * bits + 7) / 8;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int left = bytes - 4 * i;
      chunk.word[i] = left > 0 ? load_bytes(from + 4 * i, left < 4 ? left : 4) : 0;
    }
    return chunk;
  }
  switch (bits) {
    case 32: {
      const uint4 low = *reinterpret_cast<const uint4*>(from);
      const uint4 high = *reinterpret_cast<const uint4*>(from + 16);
      std::memcpy(chunk.word, &low, sizeof(low));
      std::memcpy(chunk.word + 4, &high, sizeof(high));
      break;
    }
    case 16:
      load_words<uint4>(from, &chunk);
      break;
    case 8:
      load_words<uint2>(from, &chunk);
      break;
    default:
      load_words<uint32_t>(from, &chunk);
  }
  return chunk;
}

// Eight of up to 16 bits, aligned.
__device__ inline Chunk load_narrow_chunk(const std::byte* from, int bits) {
  Chunk chunk = {};
  if (bits == 16) {
    load_words<uint4>(from, &chunk);
  } else if (bits == 8) {
    load_words<uint2>(from, &chunk);
  } else {
    load_words<uint32_t>(from, &chunk);
  }
  return chunk;
}

// Storage types by shifting their exponent and fraction to where float32 has its own, and scaling
// for the difference in bias: exact, subnormal numbers too. The definition is base/float8.hpp's.
__device__ inline float e4m3(uint32_t byte) {
  const uint32_t rest = byte & 0x7FU;
  const float magnitude = float_of(rest << 20) * 0x1p120F;
  return float_of((byte & 0x80U) << 24 | (rest == 0x7FU ? float8::kNaN : bits_of(magnitude)));
}
__device__ inline float e2m1(uint32_t code) {
  const float magnitude = float_of((code & 0x7U) << 22) * 0x1p126F;
  return float_of((code & 0x8U) << 28 | bits_of(magnitude));
}
__device__ inline float half_of(uint32_t bits) {
  const auto narrow = static_cast<uint16_t>(bits);
  __half half;
  std::memcpy(&half, &narrow, sizeof(half));
  return static_cast<float>(half);
}

// One loop a type; `number(i)` is element i.
template <typename Number>
__device__ void each_column(float (&values)[kChunk], Number number) {
#pragma unroll
  for (int i = 0; i < kChunk; ++i) {
    values[i] = number(i);
  }
}

// The eight elements as float32.
__device__ inline void decode(const Chunk& chunk, ElementType type, float (&values)[kChunk]) {
  const uint32_t(&word)[8] = chunk.word;
  const auto halfword = [&](int i) { return word[i / 2] >> (i % 2 * 16) & 0xFFFFU; };
  const auto byte = [&](int i) { return word[i / 4] >> (i % 4 * 8) & 0xFFU; };
  switch (type) {
    case ElementType::kFloat32:
      return each_column(values, [&](int i) { return float_of(word[i]); });
    case ElementType::kBFloat16:
      return each_column(values, [&](int i) { return float_of(halfword(i) << 16); });
    case ElementType::kFloat16:
      return each_column(values, [&](int i) { return half_of(halfword(i)); });
    case ElementType::kInt8:
      return each_column(values,
                         [&](int i) { return static_cast<float>(static_cast<int8_t>(byte(i))); });
    case ElementType::kFloat8E4M3: {
      const float4 low = ptx::unpack_e4m3(word[0]), high = ptx::unpack_e4m3(word[1]);
      std::memcpy(values, &low, sizeof(low));
      std::memcpy(values + 4, &high, sizeof(high));
      return;
    }
    case ElementType::kFloat4E2M1:
      return each_column(values, [&](int i) { return e2m1(word[0] >> (4 * i)); });
    case ElementType::kFloat8E8M0:
      return each_column(values, [&](int i) { return from_e8m0(static_cast<uint8_t>(byte(i))); });
  }
}

// Two neighbouring numbers, rounded.
__device__ inline float2 rounded_pair(float first, float second, float) { return {first, second}; }
__device__ inline __half2 rounded_pair(float first, float second, __half) {
  return __floats2half2_rn(first, second);
}
__device__ inline __nv_bfloat162 rounded_pair(float first, float second, __nv_bfloat16) {
  return __floats2bfloat162_rn(first, second);
}

// `count` of 8 numbers into a row of T.
template <typename T>
__device__ void store_chunk(const float (&values)[kChunk], T* to, int count, bool aligned) {
  alignas(16) T numbers[kChunk];
#pragma unroll
  for (int i = 0; i < kChunk; i += 2) {
    const auto pair = rounded_pair(values[i], values[i + 1], T());
    std::memcpy(numbers + i, &pair, sizeof(pair));
  }
  if (aligned && count == kChunk) {
    constexpr int kUnits = sizeof(numbers) / sizeof(uint4);
    uint4 units[kUnits];
    std::memcpy(units, numbers, sizeof(numbers));
#pragma unroll
    for (int i = 0; i < kUnits; ++i) {
      reinterpret_cast<uint4*>(to)[i] = units[i];
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < kChunk; ++i) {
    if (i < count) {
      to[i] = numbers[i];
    }
  }
}

}  // namespace seesaw::gpu
