// Tensors and devices inside the library are those of the C ABI: nothing is copied from one kind of
// struct to another on the way down.
#pragma once

#include <string>

#include "core/dtype.hpp"
#include "seesaw/seesaw.h"

namespace seesaw {

using Tensor = seesaw_tensor;
using Device = seesaw_device;

inline constexpr int kMaxRank = SEESAW_MAX_RANK;

constexpr DType dtype_of(const Tensor& tensor) { return static_cast<DType>(tensor.dtype); }

constexpr int64_t element_bytes(const Tensor& tensor) { return size_of(dtype_of(tensor)); }

constexpr bool on_cpu(const Device& device) { return device.type == SEESAW_CPU; }

// "cpu", "cuda:1".
inline std::string name_of(const Device& device) {
  if (device.type != SEESAW_CPU && device.type != SEESAW_CUDA) {
    return "a device of type " + std::to_string(device.type);
  }
  return on_cpu(device) ? "cpu" : "cuda:" + std::to_string(device.index);
}

}  // namespace seesaw
