// What the study notes' two CUDA kernels compute as printed, written down again for one query row
// on the CPU: exhibits for notes_kernels_test.cpp. The right versions are rungs 1 and 2.
#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

#include "ladder/arithmetic.hpp"

namespace seesaw::ladder::notes {

inline float score(const Problem& p, int64_t row, int token) {
  float sum = 0.0F;
  for (int c = 0; c < kQkColumns; ++c) {
    sum += to_float(p.q[row * kQkColumns + c]) *
           to_float(p.k[static_cast<int64_t>(token) * kQkColumns + c]);
  }
  return sum * p.scale;
}

// Kernel 1's softmax: exponentials of the scores themselves. (Sequence 0.)
inline std::vector<float> softmax_without_maximum(const Problem& p, int64_t row) {
  std::vector<float> weights(static_cast<size_t>(p.seq_lens[0]));
  float sum = 0.0F;
  for (size_t t = 0; t < weights.size(); ++t) {
    weights[t] = std::exp(score(p, row, static_cast<int>(t)));
    sum += weights[t];
  }
  for (float& weight : weights) {
    weight /= sum;
  }
  return weights;
}

// Kernel 1's output: a single number, from a value index that has a token but no column.
inline float single_output(const Problem& p, const std::vector<float>& weights) {
  float sum = 0.0F;
  for (size_t t = 0; t < weights.size(); ++t) {
    sum += weights[t] * to_float(p.v[t]);
  }
  return sum;
}

// Kernel 2's scores: the key index wraps around at the latent dimension.
inline std::vector<float> softmax_of_wrapped_keys(const Problem& p, int64_t row) {
  std::vector<float> weights(static_cast<size_t>(p.seq_lens[0]));
  float maximum = kNoMaximum;
  for (size_t t = 0; t < weights.size(); ++t) {
    weights[t] = score(p, row, static_cast<int>(t) % kQkColumns);
    maximum = std::fmax(maximum, weights[t]);
  }
  float sum = 0.0F;
  for (float& weight : weights) {
    weight = std::exp(weight - maximum);
    sum += weight;
  }
  for (float& weight : weights) {
    weight /= sum;
  }
  return weights;
}

// Kernel 2's request for shared memory: query, key, and two arrays as long as the sequence.
constexpr size_t shared_bytes(size_t latent_dim, size_t tokens) {
  return (2 * latent_dim + 2 * tokens) * sizeof(float);
}

}  // namespace seesaw::ladder::notes
