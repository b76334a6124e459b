// Element types of a cached token's parts.
#pragma once

#include <cstdint>

#include "base/host_device.hpp"

namespace seesaw {

enum class ElementType : uint8_t {
  kFloat32,
  kBFloat16,
  kFloat16,
  kInt8,
  kFloat8E4M3,
  kFloat8E8M0,  // scales: powers of two
  kFloat4E2M1   // two a byte, the first in the low half
};

SEESAW_HOST_DEVICE constexpr int bits_of(ElementType type) {
  switch (type) {
    case ElementType::kFloat32:
      return 32;
    case ElementType::kBFloat16:
    case ElementType::kFloat16:
      return 16;
    case ElementType::kInt8:
    case ElementType::kFloat8E4M3:
    case ElementType::kFloat8E8M0:
      return 8;
    case ElementType::kFloat4E2M1:
      return 4;
  }
  return 0;
}

constexpr const char* name_of(ElementType type) {
  switch (type) {
    case ElementType::kFloat32:
      return "float32";
    case ElementType::kBFloat16:
      return "bfloat16";
    case ElementType::kFloat16:
      return "float16";
    case ElementType::kInt8:
      return "int8";
    case ElementType::kFloat8E4M3:
      return "e4m3";
    case ElementType::kFloat8E8M0:
      return "e8m0";
    case ElementType::kFloat4E2M1:
      return "e2m1";
  }
  return "";
}

}  // namespace seesaw
