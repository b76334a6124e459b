// cpu.merge_states: rows shared out over threads, a block of columns at a time in float. The
// numbers are those of README.md.
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/float16.hpp"
#include "base/fork.hpp"
#include "ops/merge_states/problem.hpp"

namespace seesaw::merge_states {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kColumnsAtOnce = 256;  // summed on the stack

constexpr float kNotRead = -1.0F;  // the weight of a part that attended nothing

// What the parts of a row weigh.
struct Weights {
  float weight[SEESAW_MERGE_STATES_MOST_PARTS];  // or kNotRead
  float sum = 0.0F;
  float largest = -kInfinity;  // base 2
};

Weights weigh(const Problem& problem, const Args& args, const Row& row) {
  Weights weights;
  const auto log2_per_unit = static_cast<float>(problem.log2_per_unit());
  float lses[SEESAW_MERGE_STATES_MOST_PARTS];
  for (int64_t i = 0; i < problem.num_parts; ++i) {  // [1]
    const Tensor& lse = args.lses[i];
    lses[i] = static_cast<const float*>(lse.data)[row.offset_in(lse)] * log2_per_unit;
    weights.sum = std::isnan(lses[i]) ? lses[i] : weights.sum;
    weights.largest = std::isfinite(lses[i]) ? std::max(weights.largest, lses[i]) : weights.largest;
  }
  for (int64_t i = 0; i < problem.num_parts; ++i) {  // [2]
    weights.weight[i] = std::isfinite(lses[i]) ? std::exp2(lses[i] - weights.largest) : kNotRead;
    weights.sum += std::max(weights.weight[i], 0.0F);
  }
  return weights;
}

template <typename T>
void merge_columns(const Problem& problem, const Args& args, const Row& row,
                   const Weights& weights) {
  const float inverse = weights.sum == 0.0F ? 0.0F : 1.0F / weights.sum;
  for (int64_t begin = 0; begin < problem.d_v; begin += kColumnsAtOnce) {  // [3]
    const int64_t count = std::min(kColumnsAtOnce, problem.d_v - begin);
    float sums[kColumnsAtOnce] = {};
    for (int64_t i = 0; i < problem.num_parts; ++i) {
      if (weights.weight[i] == kNotRead) {
        continue;
      }
      const Tensor& part = args.outs[i];
      const T* values = static_cast<const T*>(part.data) + row.offset_in(part) + begin;
      for (int64_t c = 0; c < count; ++c) {
        sums[c] += weights.weight[i] * to_float(values[c]);
      }
    }
    T* out = static_cast<T*>(args.out.data) + row.offset_in(args.out) + begin;
    for (int64_t c = 0; c < count; ++c) {
      out[c] = from_float<T>(sums[c] * inverse);
    }
  }
}

template <typename T>
void merge_all(const MergePlan& plan, const Args& args) {
  const Problem& problem = plan.problem;
  const int64_t rows = batch_of(args) * problem.s * problem.h;
#pragma omp parallel for num_threads(threads_here(plan.options.num_threads))
  for (int64_t r = 0; r < rows; ++r) {
    const Row row = row_at(problem, r);
    const Weights weights = weigh(problem, args, row);
    merge_columns<T>(problem, args, row, weights);
    if (args.lse.data != nullptr) {  // [4]
      const float empty = problem.empty_is_positive() ? kInfinity : -kInfinity;
      const double merged =
          (static_cast<double>(weights.largest) + std::log2(static_cast<double>(weights.sum))) /
          problem.log2_per_unit();
      static_cast<float*>(args.lse.data)[row.offset_in(args.lse)] =
          weights.sum == 0.0F ? empty : static_cast<float>(merged);
    }
  }
}

}  // namespace

Status run_cpu(const MergePlan& plan, const Args& args, const Call&) {
  switch (plan.problem.type()) {
    case DType::kBFloat16:
      merge_all<BFloat16>(plan, args);
      break;
    case DType::kFloat16:
      merge_all<Float16>(plan, args);
      break;
    default:
      merge_all<float>(plan, args);
  }
  return {};
}

}  // namespace seesaw::merge_states
