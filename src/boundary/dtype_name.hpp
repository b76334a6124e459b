// A dtype in messages of libraries beside libseesaw, which names its own (core/dtype.hpp).
#pragma once

#include <string>

#include "seesaw/baselines.h"
#include "seesaw/seesaw.h"

namespace seesaw {

// Of a seesaw_dtype, or SEESAW_BASELINE_UINT8.
inline std::string dtype_name(int32_t dtype) {
  switch (dtype) {
    case SEESAW_FLOAT32:
      return "float32";
    case SEESAW_BFLOAT16:
      return "bfloat16";
    case SEESAW_FLOAT16:
      return "float16";
    case SEESAW_INT32:
      return "int32";
    case SEESAW_INT64:
      return "int64";
    case SEESAW_UINT8:
    case SEESAW_BASELINE_UINT8:
      return "uint8";
    default:
      return std::to_string(dtype) + " (unknown)";
  }
}

}  // namespace seesaw
