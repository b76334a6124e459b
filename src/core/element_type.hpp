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

// From a word with a byte a type: GPUs take branches for a switch.
SEESAW_HOST_DEVICE constexpr int bits_of(ElementType type) {
  constexpr uint64_t kBits = 0x04'08'08'08'10'10'20;
  return static_cast<int>(kBits >> (8 * static_cast<int>(type)) & 0xFF);
}
static_assert(bits_of(ElementType::kFloat32) == 32 && bits_of(ElementType::kBFloat16) == 16 &&
              bits_of(ElementType::kFloat16) == 16 && bits_of(ElementType::kInt8) == 8 &&
              bits_of(ElementType::kFloat8E4M3) == 8 && bits_of(ElementType::kFloat8E8M0) == 8 &&
              bits_of(ElementType::kFloat4E2M1) == 4);

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
