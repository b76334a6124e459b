// Reading and writing elements of any type as float, one or four at a time, and grids that loop.
// The type is looked up at run time: the same for all threads, so it costs an instruction or two,
// and the kernels here wait for memory. One instance of each kernel serves every type.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "baselines/view.hpp"

namespace seesaw::baselines {

// A View for kernels.
struct Elements {
  void* data;
  DType dtype;
  bool fours;  // each row starts where four elements can be read at once, and they lie side by side
  int64_t stride[4];

  __device__ float load(int64_t index) const {
    switch (dtype) {
      case DType::kBFloat16:
        return __bfloat162float(static_cast<const __nv_bfloat16*>(data)[index]);
      case DType::kFloat16:
        return __half2float(static_cast<const __half*>(data)[index]);
      default:
        return static_cast<const float*>(data)[index];
    }
  }

  __device__ void store(int64_t index, float value) const {
    switch (dtype) {
      case DType::kBFloat16:
        static_cast<__nv_bfloat16*>(data)[index] = __float2bfloat16_rn(value);
        break;
      case DType::kFloat16:
        static_cast<__half*>(data)[index] = __float2half_rn(value);
        break;
      default:
        static_cast<float*>(data)[index] = value;
    }
  }

  // Four side by side from `index` on, of which the first `count` are there: at once, if rows are
  // `fours` and none is missing.
  __device__ float4 load4(int64_t index, int64_t count) const {
    if (!fours || count < 4) {
      return {load(index), count > 1 ? load(index + 1) : 0.0F, count > 2 ? load(index + 2) : 0.0F,
              count > 3 ? load(index + 3) : 0.0F};
    }
    if (dtype == DType::kFloat32) {
      return *reinterpret_cast<const float4*>(static_cast<const float*>(data) + index);
    }
    const uint2 bits = *reinterpret_cast<const uint2*>(static_cast<const uint16_t*>(data) + index);
    const float2 low = unpack(bits.x);
    const float2 high = unpack(bits.y);
    return {low.x, low.y, high.x, high.y};
  }

  __device__ void store4(int64_t index, int64_t count, float4 values) const {
    if (!fours || count < 4) {
      const float each[] = {values.x, values.y, values.z, values.w};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (i < count) {
          store(index + i, each[i]);
        }
      }
    } else if (dtype == DType::kFloat32) {
      *reinterpret_cast<float4*>(static_cast<float*>(data) + index) = values;
    } else {
      *reinterpret_cast<uint2*>(static_cast<uint16_t*>(data) + index) = {pack(values.x, values.y),
                                                                         pack(values.z, values.w)};
    }
  }

  __device__ int64_t offset(int64_t i, int64_t j, int64_t k) const {
    return i * stride[0] + j * stride[1] + k * stride[2];
  }

 private:
  // Two elements of a 16-bit type.
  __device__ float2 unpack(uint32_t bits) const {
    return dtype == DType::kBFloat16 ? __bfloat1622float2(bit_cast<__nv_bfloat162>(bits))
                                     : __half22float2(bit_cast<__half2>(bits));
  }
  __device__ uint32_t pack(float low, float high) const {
    return dtype == DType::kBFloat16 ? bit_cast<uint32_t>(__floats2bfloat162_rn(low, high))
                                     : bit_cast<uint32_t>(__floats2half2_rn(low, high));
  }
  template <typename To, typename From>
  __device__ static To bit_cast(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(&to, &from, sizeof(to));
    return to;
  }
};

inline Elements elements_of(const View& view) {
  bool fours = reinterpret_cast<uintptr_t>(view.data) % (4 * size_of(view.dtype)) == 0 &&
               view.stride[3] == 1;
  for (size_t dim = 0; dim < 3; ++dim) {
    fours = fours && (view.shape[dim] == 1 || view.stride[dim] % 4 == 0);
  }
  return {view.data,
          view.dtype,
          fours,
          {view.stride[0], view.stride[1], view.stride[2], view.stride[3]}};
}

// Threads for a row, in whole warps: two fours each, or more of a long row.
inline unsigned threads_for_row(int64_t width, unsigned most) {
  unsigned threads = 32;
  while (threads < most && threads * 8 < width) {
    threads *= 2;
  }
  return threads;
}

// Blocks for `wanted` pieces of work along y or z; kernels loop over the rest.
inline unsigned grid_dim(int64_t wanted) {
  return static_cast<unsigned>(std::clamp<int64_t>(wanted, 1, 65535));
}

// Blocks along x, which may be many more.
inline unsigned grid_dim_x(int64_t wanted) {
  return static_cast<unsigned>(std::clamp<int64_t>(wanted, 1, INT32_MAX));
}

}  // namespace seesaw::baselines
