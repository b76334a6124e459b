// A float's bits, on the CPU and on a GPU.
#pragma once

#include <bit>
#include <cstdint>

#include "base/host_device.hpp"

namespace seesaw {

SEESAW_HOST_DEVICE inline uint32_t bits_of(float value) {
#if defined(__CUDA_ARCH__)
  return __float_as_uint(value);
#else
  return std::bit_cast<uint32_t>(value);
#endif
}

SEESAW_HOST_DEVICE inline float float_of(uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(bits);
#else
  return std::bit_cast<float>(bits);
#endif
}

}  // namespace seesaw
