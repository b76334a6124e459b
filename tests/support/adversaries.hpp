// Inputs made to break the accuracy bounds: for every source of error of docs/guide/06-numerics.md
// one that makes the most of it.
#pragma once

#include <span>

#include "lab/decode_case.hpp"

namespace seesaw::testing {

struct Adversary {
  const char* name;
  lab::DecodeCase (*make)(seesaw_dtype dtype);
};
std::span<const Adversary> all_adversaries();

// Two keys that cancel: right is 4 tanh(s / 2), a hundredth of the values.
lab::DecodeCase two_keys(seesaw_dtype dtype);

// Probabilities next to the middle of two numbers of the type, rounded down where the value is
// positive and up where it is negative: errors of one sign, none of which averages out.
lab::DecodeCase one_sided_weights(seesaw_dtype dtype);

// The first value is 1; each of the others is half of the distance to the next float, and is lost.
lab::DecodeCase absorbed_values(seesaw_dtype dtype);

// Scores of 573 products each: behind a first one, half a float's distance each, lost in one key,
// and a little more, counted twice, in the other. The values of the two are opposite.
lab::DecodeCase absorbed_scores(seesaw_dtype dtype);

// Values a thousand times as large as the others in a few places, which the query does not see.
lab::DecodeCase spikes(seesaw_dtype dtype);

// Keys that float16 holds as a subnormal probability, or as 0, and values that make them count.
lab::DecodeCase faint_weights(seesaw_dtype dtype);

}  // namespace seesaw::testing
