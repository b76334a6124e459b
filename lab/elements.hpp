// Elements of tensors by dtype: their size, and their conversion from and to float.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "seesaw/seesaw.h"

namespace seesaw::lab {

// All bits set is a NaN in every floating format: what memory holds that must not matter.
inline constexpr unsigned char kPoison = 0xFF;

constexpr size_t size_of(int32_t dtype) {  // bytes; of a seesaw_dtype, 1 of formats of bytes
  switch (dtype) {
    case SEESAW_BFLOAT16:
    case SEESAW_FLOAT16:
      return 2;
    case SEESAW_FLOAT32:
    case SEESAW_INT32:
      return 4;
    case SEESAW_INT64:
      return 8;
    default:
      return 1;
  }
}

// values[i] as float, for any floating dtype; stored rounded to nearest even.
float load_element(const void* values, int32_t dtype, size_t i);
void store_element(void* values, int32_t dtype, size_t i, float value);

inline std::vector<int64_t> tensor_shape(const seesaw_tensor& tensor) {
  return {tensor.shape, tensor.shape + tensor.rank};
}

// Elements and bytes of a tensor without gaps.
inline size_t element_count(const seesaw_tensor& tensor) {
  size_t count = 1;
  for (int32_t i = 0; i < tensor.rank; ++i) {
    count *= static_cast<size_t>(tensor.shape[i]);
  }
  return count;
}
inline size_t packed_bytes(const seesaw_tensor& tensor) {
  return element_count(tensor) * size_of(tensor.dtype);
}

}  // namespace seesaw::lab
