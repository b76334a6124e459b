// A view of memory that the caller owns: dtype, shape, 64-bit strides in elements, device.
#pragma once

#include <array>
#include <cstdint>

namespace seesaw {

enum class DType : int32_t { kFloat32 = 1, kBFloat16 = 2, kFloat16 = 3, kInt32 = 4 };

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

enum class DeviceType : int32_t { kCpu = 1, kCuda = 2 };

struct Device {
  DeviceType type = DeviceType::kCpu;
  int32_t index = 0;
  bool operator==(const Device&) const = default;
};

inline constexpr int kMaxRank = 4;

struct TensorView {
  void* data = nullptr;
  std::array<int64_t, kMaxRank> shape{};   // outermost first; `rank` entries
  std::array<int64_t, kMaxRank> stride{};  // elements
  int32_t rank = 0;
  DType dtype = DType::kFloat32;
  Device device;
};

}  // namespace seesaw
