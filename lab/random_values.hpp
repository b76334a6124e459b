// Random numbers by coordinates instead of by order of drawing: a sequence has the same values
// alone and in a batch, and whatever pages hold them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

namespace seesaw::lab {

// SplitMix64's mixing function (Steele, Lea, Flood 2014).
inline uint64_t mix(uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

inline uint64_t mix(uint64_t a, uint64_t b) { return mix(mix(a) ^ b); }

// Normal with deviation 0.1, clamped to [-1, 1]; drawn from a table, as most of a test's time
// would go into drawing otherwise.
inline float small_normal(uint64_t hash) {
  static const std::vector<float> table = [] {
    std::mt19937_64 engine(1);
    std::normal_distribution<float> normal(0.0F, 0.1F);
    std::vector<float> values(1 << 16);
    for (float& value : values) {
      value = std::clamp(normal(engine), -1.0F, 1.0F);
    }
    return values;
  }();
  return table[hash & 0xFFFFu];
}

}  // namespace seesaw::lab
