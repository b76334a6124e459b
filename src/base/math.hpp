// Small integer arithmetic shared by host and device.
#pragma once

#include "base/host_device.hpp"

namespace seesaw {

// Least integer >= a / b, for a >= 0 and b > 0.
template <typename Int>
SEESAW_HOST_DEVICE constexpr Int ceil_div(Int a, Int b) {
  return (a + b - 1) / b;
}

// Least multiple of b that is >= a, for a >= 0 and b > 0.
template <typename Int>
SEESAW_HOST_DEVICE constexpr Int round_up(Int a, Int b) {
  return ceil_div(a, b) * b;
}

}  // namespace seesaw
