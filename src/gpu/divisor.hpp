// Division by a number that is the same for a whole launch.
#pragma once

#include <cstdint>

#include "base/host_device.hpp"

namespace seesaw::gpu {

// Of anything in [0, 2^31): a product and a shift instead of 20 instructions (Granlund and
// Montgomery, PLDI 1994, figure 4.1). Made on the host.
struct Divisor {
  uint32_t value = 1;
  uint32_t multiplier = 1;
  uint32_t shift = 0;

  Divisor() = default;
  explicit Divisor(uint32_t divisor) : value(divisor) {
    while ((uint64_t{1} << shift) < divisor) ++shift;
    const uint64_t excess = (uint64_t{1} << shift) - divisor;
    multiplier = excess == 0 ? 1 : static_cast<uint32_t>((excess << 32) / divisor + 1);
  }

  SEESAW_HOST_DEVICE int32_t divide(int32_t number) const {
    const auto n = static_cast<uint32_t>(number);
    const auto high = static_cast<uint32_t>((uint64_t{n} * multiplier) >> 32);
    return static_cast<int32_t>((high + n) >> shift);
  }
  SEESAW_HOST_DEVICE int32_t remainder(int32_t number, int32_t quotient) const {
    return number - quotient * static_cast<int32_t>(value);
  }
};

}  // namespace seesaw::gpu
