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

// A token's place in a paged cache.
struct PageAndToken {
  int64_t page;
  int64_t token;  // of the page
};

// Tokens of a page, by which numbers of tokens are divided: those of 64 bits take a hundred
// instructions.
struct PageSize {
  int64_t tokens = 1;
  Divisor narrow;

  PageSize() = default;
  explicit PageSize(int64_t size)
      : tokens(size), narrow(static_cast<uint32_t>(size < kBeyond ? size : kBeyond)) {}

  SEESAW_HOST_DEVICE PageAndToken place_of(int64_t number) const {  // 0 or more
    if (number < kBeyond) {
      const auto n = static_cast<int32_t>(number);
      const int32_t page = narrow.divide(n);
      return {page, narrow.remainder(n, page)};
    }
    return {number / tokens, number % tokens};
  }

 private:
  static constexpr int64_t kBeyond = int64_t{1} << 31;  // numbers that are divided narrowly
};

}  // namespace seesaw::gpu
