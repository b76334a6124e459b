// Random numbers, the same on every machine: the standard library's distributions are not. Drawn in
// order from a stream, or by coordinates, so that a sequence has the same values alone and in a
// batch, and whatever pages hold them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace seesaw::lab {

inline constexpr uint64_t kGolden = 0x9E3779B97F4A7C15u;

// SplitMix64 (Steele, Lea, Flood 2014): any 64-bit number is a good start.
inline uint64_t mix(uint64_t x) {
  x += kGolden;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

inline uint64_t mix(uint64_t a, uint64_t b) { return mix(mix(a) ^ b); }

__extension__ using Wide = unsigned __int128;

// A stream, keyed by what it fills.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t bits() {
    const uint64_t drawn = mix(state_);
    state_ += kGolden;
    return drawn;
  }

  // In [low, high], by multiplication: the bias is below range / 2^64.
  int64_t between(int64_t low, int64_t high) {
    const auto range = static_cast<Wide>(high - low) + 1;
    return low + static_cast<int64_t>((range * bits()) >> 64);
  }

  template <typename T>
  void shuffle(std::vector<T>* items) {
    for (size_t i = items->size(); i > 1; --i) {
      std::swap((*items)[i - 1],
                (*items)[static_cast<size_t>(between(0, static_cast<int64_t>(i) - 1))]);
    }
  }

 private:
  uint64_t state_;
};

}  // namespace seesaw::lab
