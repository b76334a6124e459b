// Element types of tensors: the numbers of seesaw_dtype as an enumeration.
#pragma once

#include <cstdint>

#include "seesaw/seesaw.h"

namespace seesaw {

enum class DType : int32_t {
  kFloat32 = SEESAW_FLOAT32,
  kBFloat16 = SEESAW_BFLOAT16,
  kFloat16 = SEESAW_FLOAT16,
  kInt32 = SEESAW_INT32
};

constexpr int64_t size_of(DType dtype) {
  return dtype == DType::kFloat32 || dtype == DType::kInt32 ? 4 : 2;
}

constexpr const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return "float32";
    case DType::kBFloat16:
      return "bfloat16";
    case DType::kFloat16:
      return "float16";
    case DType::kInt32:
      return "int32";
  }
  return "unknown";
}

// Whether `dtype` is a number of seesaw_dtype.
constexpr bool is_dtype(int32_t dtype) { return dtype >= SEESAW_FLOAT32 && dtype <= SEESAW_INT32; }

}  // namespace seesaw
