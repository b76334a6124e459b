// What both roles of the kernel share: rows, units, angles.
#pragma once

#include "gpu/elements.cuh"
#include "ops/append/gpu/append.hpp"
#include "ops/append/rotary.hpp"

namespace seesaw::append::gpu {

using seesaw::gpu::Elements;
using seesaw::gpu::float_from;
using seesaw::gpu::rounded;

// kCount elements from `from`, by 16 bytes or one by one.
template <Access kAccess, int kCount, typename T>
__device__ void load(const T* from, T* to) {
  constexpr int kAtOnce = kAccess == Access::kUnits ? 16 / static_cast<int>(sizeof(T)) : 1;
  constexpr int kStep = kAtOnce < kCount ? kAtOnce : kCount;
#pragma unroll
  for (int i = 0; i < kCount; i += kStep) {
    const auto unit = *reinterpret_cast<const Elements<T, kStep>*>(from + i);
#pragma unroll
    for (int j = 0; j < kStep; ++j) {
      to[i + j] = unit.element[j];
    }
  }
}

// The same the other way. A row of a byte format may start at any byte: there, byte by byte.
template <Access kAccess, int kCount, typename T>
__device__ void store(const T* from, void* to) {
  constexpr int kAtOnce = kAccess == Access::kUnits ? 16 / static_cast<int>(sizeof(T)) : 1;
  constexpr int kStep = kAtOnce < kCount ? kAtOnce : kCount;
  if (kAccess == Access::kElements && reinterpret_cast<uintptr_t>(to) % sizeof(T) != 0) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(from);
    for (int i = 0; i < kCount * static_cast<int>(sizeof(T)); ++i) {
      static_cast<uint8_t*>(to)[i] = bytes[i];
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < kCount; i += kStep) {
    Elements<T, kStep> unit;
#pragma unroll
    for (int j = 0; j < kStep; ++j) {
      unit.element[j] = from[i + j];
    }
    *reinterpret_cast<Elements<T, kStep>*>(static_cast<T*>(to) + i) = unit;
  }
}

__device__ inline float number_at(DType dtype, const void* from, int64_t index) {
  switch (dtype) {
    case DType::kBFloat16:
      return float_from(static_cast<const __nv_bfloat16*>(from)[index]);
    case DType::kFloat16:
      return float_from(static_cast<const __half*>(from)[index]);
    default:
      return static_cast<const float*>(from)[index];
  }
}

// The angles of a token's position. A position outside of cos_sin reads nothing, and gives NaN.
struct Angles {
  DType dtype;
  const void* cos_sin;
  int64_t row;  // elements; -1: outside
  int32_t frequencies;

  __device__ Pair turned(const Pair& pair, int32_t frequency) const {
    if (row < 0) {
      return {float_of(float8::kNaN), float_of(float8::kNaN)};
    }
    return rotate(pair, number_at(dtype, cos_sin, row + frequency),
                  number_at(dtype, cos_sin, row + frequencies + frequency));
  }
};

__device__ inline Angles angles_of(const RotaryParams& p, int64_t token) {
  const int64_t position = p.positions[token * p.position_stride];
  const bool inside = position >= 0 && position < p.max_position;
  return {p.dtype, p.cos_sin, inside ? position * p.cos_sin_stride : -1, p.d_rope / 2};
}

}  // namespace seesaw::append::gpu
