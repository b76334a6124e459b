// The four steps of flash attention, for host and device alike: the same source runs in rung 3's
// kernel and in the CPU row of the ladder (four_steps_cpu.cpp).
//
// Attention of one query row over a block of `count` tokens:
//   1 compute_qk_scores_and_max             the block's scores and their maximum
//   2 compute_block_softmax_and_weighted_v  exponentials, their sum, and the weighted values
//   3 merge_block_stats                     online softmax: this block's result into the row's
//   4 normalize_output                      the final division
// A row is the work of a team: the threads of a GPU block, or one CPU thread. A member takes tokens
// (step 1) or columns (steps 2 to 4) rank, rank + size, ... Where one step's results are read by
// other members in the next, the caller puts a barrier.
#pragma once

#include "ladder/arithmetic.hpp"

namespace seesaw::ladder {

struct Team {
  int rank = 0;
  int size = 1;
};

// What is known of a row after some tokens: the maximum of its scores, and the sum of
// exp(score - maximum). The weighted values that belong to it are relative to the same maximum.
struct SoftmaxStats {
  float maximum = kNoMaximum;
  float sum = 0.0F;
};

// Step 1. scores[t] = scale * q . k[t]; returns the largest of this member's scores.
template <int kHeadDim>
SEESAW_HOST_DEVICE float compute_qk_scores_and_max(const Team& team, const Bf16* q, const Bf16* k,
                                                   int count, float scale, float* scores) {
  float maximum = kNoMaximum;
  for (int t = team.rank; t < count; t += team.size) {
    float dot = 0.0F;
    for (int c = 0; c < kHeadDim; ++c) {
      dot = fmaf(to_float(q[c]), to_float(k[static_cast<int64_t>(t) * kHeadDim + c]), dot);
    }
    scores[t] = dot * scale;
    maximum = fmaxf(maximum, scores[t]);
  }
  return maximum;
}

// Step 2. weighted[c] = sum over t of exp(scores[t] - maximum) * v[t][c], for this member's
// columns. Every member computes all exponentials, so nobody has to wait for their sum.
template <int kValueDim>
SEESAW_HOST_DEVICE SoftmaxStats compute_block_softmax_and_weighted_v(const Team& team,
                                                                     const float* scores,
                                                                     float maximum, const Bf16* v,
                                                                     int count, float* weighted) {
  SoftmaxStats block = {maximum, 0.0F};
  for (int c = team.rank; c < kValueDim; c += team.size) {
    weighted[c] = 0.0F;
  }
  for (int t = 0; t < count; ++t) {
    const float p = expf(scores[t] - maximum);
    block.sum += p;
    for (int c = team.rank; c < kValueDim; c += team.size) {
      weighted[c] = fmaf(p, to_float(v[static_cast<int64_t>(t) * kValueDim + c]), weighted[c]);
    }
  }
  return block;
}

// Step 3. Two partial results become one: both move to the larger maximum and add up. Returns the
// merged statistics; `accumulated` (this member's columns) changes in place. Associative, and the
// order of blocks changes the result by rounding only.
template <int kValueDim>
SEESAW_HOST_DEVICE SoftmaxStats merge_block_stats(const Team& team, const SoftmaxStats& row,
                                                  const SoftmaxStats& block, const float* weighted,
                                                  float* accumulated) {
  const float maximum = fmaxf(row.maximum, block.maximum);
  const float row_factor = expf(row.maximum - maximum);
  const float block_factor = expf(block.maximum - maximum);
  for (int c = team.rank; c < kValueDim; c += team.size) {
    accumulated[c] = accumulated[c] * row_factor + weighted[c] * block_factor;
  }
  return {maximum, row.sum * row_factor + block.sum * block_factor};
}

// Step 4. A row that saw no token gives zeros.
template <int kValueDim>
SEESAW_HOST_DEVICE void normalize_output(const Team& team, const SoftmaxStats& row,
                                         const float* accumulated, Bf16* out) {
  const float reciprocal = row.sum == 0.0F ? 0.0F : 1.0F / row.sum;
  for (int c = team.rank; c < kValueDim; c += team.size) {
    out[c] = to_bf16(accumulated[c] * reciprocal);
  }
}

}  // namespace seesaw::ladder
