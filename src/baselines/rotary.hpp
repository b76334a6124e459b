// Frequencies of the rotary embedding, with YaRN where a model asks for it (arXiv:2309.00071,
// section 3.2): pairs that turn often in the original context stay as they are, pairs that turn
// seldom are slowed down by `factor`, with a ramp between.
#pragma once

#include <cmath>
#include <cstdint>

#include "base/host_device.hpp"

namespace seesaw::baselines {

struct RotaryFrequencies {
  double theta = 10000.0;   // pair i of n turns by theta^(-i / n) a position
  double factor = 1.0;      // of YaRN; 1: none
  double ramp_begin = 0.0;  // up to this pair as without YaRN,
  double ramp_end = 1.0;    // from this one on slower by `factor`
  double amplitude = 1.0;   // sines and cosines are multiplied by it
};

// What pair `pair` of `pairs` turns by from one position to the next.
SEESAW_HOST_DEVICE inline double frequency_of(const RotaryFrequencies& r, int64_t pair,
                                              int64_t pairs) {
  const double index = static_cast<double>(pair);
  const double plain = pow(r.theta, -index / static_cast<double>(pairs));
  const double ramp = (index - r.ramp_begin) / (r.ramp_end - r.ramp_begin);
  const double share = ramp < 0.0 ? 0.0 : ramp > 1.0 ? 1.0 : ramp;
  return plain * (1.0 - share * (1.0 - 1.0 / r.factor));
}

}  // namespace seesaw::baselines
