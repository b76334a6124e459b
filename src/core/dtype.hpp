// Element types of tensors: the numbers of seesaw_dtype as an enumeration.
#pragma once

#include <cstdint>

#include "seesaw/seesaw.h"

namespace seesaw {

enum class DType : int32_t {
  kFloat32 = SEESAW_FLOAT32,
  kBFloat16 = SEESAW_BFLOAT16,
  kFloat16 = SEESAW_FLOAT16,
  kInt32 = SEESAW_INT32,
  kInt64 = SEESAW_INT64,
  kUInt8 = SEESAW_UINT8
};

inline constexpr DType kAllDTypes[] = {DType::kFloat32, DType::kBFloat16, DType::kFloat16,
                                       DType::kInt32,   DType::kInt64,    DType::kUInt8};

constexpr int64_t size_of(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
    case DType::kInt32:
      return 4;
    case DType::kBFloat16:
    case DType::kFloat16:
      return 2;
    case DType::kInt64:
      return 8;
    case DType::kUInt8:
      return 1;
  }
  return 0;
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
    case DType::kInt64:
      return "int64";
    case DType::kUInt8:
      return "uint8";
  }
  return "unknown";
}

// Whether `dtype` is a number of seesaw_dtype.
constexpr bool is_dtype(int32_t dtype) { return dtype >= SEESAW_FLOAT32 && dtype <= SEESAW_UINT8; }

}  // namespace seesaw
