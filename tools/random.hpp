// Random numbers that are the same on every machine: the standard library's distributions are not.
#pragma once

#include <cstdint>

namespace seesaw::tools {

// SplitMix64 (Steele, Lea, Flood 2014): any 64-bit state is a good start, so a stream can be keyed
// by what it fills.
__extension__ using Wide = unsigned __int128;

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t bits() {
    state_ += 0x9E3779B97F4A7C15u;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }

  // In [low, high], by multiplication: the bias is below range / 2^64.
  int64_t between(int64_t low, int64_t high) {
    const auto range = static_cast<Wide>(high - low) + 1;
    return low + static_cast<int64_t>((range * bits()) >> 64);
  }

 private:
  uint64_t state_;
};

}  // namespace seesaw::tools
