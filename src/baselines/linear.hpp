// A layer's linear maps, read from a call's weights in the order of parameters().
#pragma once

#include <cstddef>

#include "baselines/ops.hpp"
#include "baselines/problem.hpp"

namespace seesaw::baselines {

struct Linear {
  View weight;  // [1, 1, outputs, inputs]
  View bias;    // [1, 1, 1, outputs], or absent
};

enum class Bias { kNone, kIfProblemHas };

class WeightReader {
 public:
  explicit WeightReader(const Call& call) : call_(call) {}

  Linear linear(Bias bias = Bias::kIfProblemHas) {
    const View weight = call_.weights[next_++];
    const bool has_bias = bias == Bias::kIfProblemHas && call_.problem.bias;
    return {weight, has_bias ? call_.weights[next_++] : View{}};
  }

  View vector() { return call_.weights[next_++]; }

 private:
  const Call& call_;
  size_t next_ = 0;
};

// y = x W^T + b, one product a sequence. x [B, 1, N, inputs], y [B, 1, N, outputs].
inline Status linear_per_sequence(Ops& ops, const View& x, const Linear& map, const View& y) {
  return ops.gemm({.a = x, .b = map.weight.transposed(), .c = y, .bias = map.bias});
}

// The same, as one product of all rows where both lie so in memory. Not for views whose number of
// rows depends on past_tokens: which products there are must not.
inline Status linear(Ops& ops, const View& x, const Linear& map, const View& y) {
  const bool merge = rows_follow(x) && rows_follow(y);
  return linear_per_sequence(ops, merge ? merge_rows(x) : x, map, merge ? merge_rows(y) : y);
}

}  // namespace seesaw::baselines
