// The error bounds of one row, from what is known of its keys: mathematics shared by the host and
// the GPU tests. docs/guide/06-numerics.md derives it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "base/host_device.hpp"
#include "seesaw/seesaw.h"

namespace seesaw::lab {

inline constexpr double kFloatRoundoff = 0x1p-24;

// Unit roundoffs of what is kept in fewer bits than a float has. They follow from the dtypes: a
// kernel may be more exact, and none may be less.
struct Rounding {
  double weights;       // probabilities, in the cache's type for the second product
  double least_weight;  // a probability below it loses as much as one of this size
  double partials;      // outputs of the pieces of a split sequence
  double out;           // outputs, in the query's type
  double least_out;     // an output below it loses as much as one of this size
};

constexpr double roundoff_of(int32_t dtype) {
  return dtype == SEESAW_BFLOAT16 ? 0x1p-8 : dtype == SEESAW_FLOAT16 ? 0x1p-11 : kFloatRoundoff;
}

// The least number that its type holds to full precision. Float arithmetic may flush what is not
// normal, and bfloat16 has float's exponents.
constexpr double least_of(int32_t dtype) {
  return dtype == SEESAW_FLOAT16 ? 0x1p-14 : 0x1p-126 / roundoff_of(dtype);
}

constexpr Rounding rounding_of(int32_t q_dtype, int32_t kv_format) {
  // Weights meet values of the cache's dtype or of the query's, as the kernel likes; those of a
  // quantised cache, of the query's.
  const bool plain =
      kv_format == SEESAW_FLOAT32 || kv_format == SEESAW_BFLOAT16 || kv_format == SEESAW_FLOAT16;
  const int32_t other = plain ? kv_format : q_dtype;
  return {std::max(roundoff_of(other), roundoff_of(q_dtype)),
          std::max(least_of(other), least_of(q_dtype)),
          q_dtype == SEESAW_FLOAT32 ? kFloatRoundoff : 0x1p-11, roundoff_of(q_dtype),
          least_of(q_dtype)};
}

// Roundings that happen a fixed number of times to a weight, or to what is made of it: exp2 of the
// weight and of its piece (4 each), products (2), the division (2), the reference's own (1).
inline constexpr double kFixedRoundings = 16;
// For each key: one addition; and for every 64 keys at most one move of the frame (exp2, 4, and a
// product) and one piece more.
inline constexpr double kRoundingsPerKey = 1 + 6.0 / 64;
// Of a score, besides the d_qk additions: a product, log2(e) and the scale (3), the maximum that is
// subtracted (2), a query that was scaled first (1).
inline constexpr double kScoreRoundings = 8;
// Partials share the exponent of their block's largest: 2^-28 of it is their least normal number.
inline constexpr double kLeastPartial = 0x1p-28;

// What a score may be off by, from sum(abs(q * k)) * abs(scale).
SEESAW_HOST_DEVICE inline double score_error(double d_qk, double magnitude) {
  return (d_qk + kScoreRoundings) * kFloatRoundoff * magnitude;
}

// What a number of a quantised cache may be off by when it becomes one of the query's dtype:
// nothing if it is one, else a rounding, and the float product's before it.
SEESAW_HOST_DEVICE inline double element_error(double value, bool representable,
                                               const Rounding& rounding) {
  return representable ? 0.0
                       : fmax(fabs(value), rounding.least_out) * (rounding.out + kFloatRoundoff);
}

struct RowScores {
  double keys;        // that the row sees
  double error;       // the largest score_error of a key that counts
  double greatest;    // score
  double weight_sum;  // of exp(score - greatest)
};

struct RowErrors {
  double weight;        // relative, of a key's weight and of their sum, before it is rounded
  double out_factor;    // times the sum of value_error * abs(value)
  double out_relative;  // times abs(reference)
  double lse;           // in natural units
};

SEESAW_HOST_DEVICE inline RowErrors row_errors(const RowScores& row, const Rounding& rounding) {
  const double sums = (kRoundingsPerKey * row.keys + kFixedRoundings) * kFloatRoundoff;
  const double grown = exp(row.error) * (1 + 2 * sums);  // the sum of weights may be too small
  const double log_sum = log(row.weight_sum);
  RowErrors errors{};
  errors.weight = expm1(row.error) + sums;
  errors.out_factor = grown * (1 + rounding.out) / row.weight_sum;
  errors.out_relative = grown * errors.weight + rounding.out + kFloatRoundoff;
  errors.lse = row.error + sums * (1 + 2 * sums) +
               4 * kFloatRoundoff * (1 + log_sum + fabs(row.greatest + log_sum));
  return errors;
}

// A key's part in the error of the weighted sum, times abs(value): of its weight, of the partial
// that holds it, and of the weight's rounding.
SEESAW_HOST_DEVICE inline double value_error(double weight, const RowErrors& errors,
                                             const Rounding& rounding) {
  return weight * (errors.weight + rounding.partials) +
         fmax(weight, rounding.least_weight) * rounding.weights;
}

// What no output's error has to be below: its least number, and the partials' least, of which
// `largest` is the largest error of the row.
SEESAW_HOST_DEVICE inline double least_error(double largest, const Rounding& rounding) {
  return rounding.out * rounding.least_out + rounding.partials * kLeastPartial * largest;
}

}  // namespace seesaw::lab
