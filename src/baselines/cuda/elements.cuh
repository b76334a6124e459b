// Reading and writing elements of any type as float, and grids that loop. The type is looked up at
// run time: the same for all threads, so it costs an instruction or two, and the kernels here wait
// for memory. One instance of each kernel serves every type.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cstdint>

#include "baselines/view.hpp"

namespace seesaw::baselines {

// A View for kernels.
struct Elements {
  void* data;
  DType dtype;
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

  __device__ int64_t offset(int64_t i, int64_t j, int64_t k) const {
    return i * stride[0] + j * stride[1] + k * stride[2];
  }
};

inline Elements elements_of(const View& view) {
  return {view.data, view.dtype, {view.stride[0], view.stride[1], view.stride[2], view.stride[3]}};
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
