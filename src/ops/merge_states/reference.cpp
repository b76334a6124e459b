// The definition, in double precision. Slow on purpose; the numbers are those of README.md.
#include <cmath>
#include <limits>

#include "base/float16.hpp"
#include "base/fork.hpp"
#include "ops/merge_states/problem.hpp"

namespace seesaw::merge_states {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double element_at(const Tensor& tensor, int64_t index) {
  switch (dtype_of(tensor)) {
    case DType::kBFloat16:
      return static_cast<double>(to_float(static_cast<const BFloat16*>(tensor.data)[index]));
    case DType::kFloat16:
      return static_cast<double>(to_float(static_cast<const Float16*>(tensor.data)[index]));
    default:
      return static_cast<double>(static_cast<const float*>(tensor.data)[index]);
  }
}

void store(const Tensor& tensor, int64_t index, double value) {
  const auto rounded = static_cast<float>(value);
  switch (dtype_of(tensor)) {
    case DType::kBFloat16:
      static_cast<BFloat16*>(tensor.data)[index] = from_float<BFloat16>(rounded);
      return;
    case DType::kFloat16:
      static_cast<Float16*>(tensor.data)[index] = from_float<Float16>(rounded);
      return;
    default:
      static_cast<float*>(tensor.data)[index] = rounded;
  }
}

void merge_row(const Problem& problem, const Args& args, const Row& row) {
  double lses[SEESAW_MERGE_STATES_MOST_PARTS];
  double largest = -kInfinity;  // [1]
  bool poisoned = false;
  for (int64_t i = 0; i < problem.num_parts; ++i) {
    lses[i] = element_at(args.lses[i], row.offset_in(args.lses[i])) * problem.log2_per_unit();
    poisoned = poisoned || std::isnan(lses[i]);
    largest = std::isfinite(lses[i]) ? std::fmax(largest, lses[i]) : largest;
  }
  double weights[SEESAW_MERGE_STATES_MOST_PARTS];
  double sum = poisoned ? std::numeric_limits<double>::quiet_NaN() : 0.0;
  for (int64_t i = 0; i < problem.num_parts; ++i) {  // [2]
    weights[i] = std::isfinite(lses[i]) ? std::exp2(lses[i] - largest) : 0.0;
    sum += weights[i];
  }
  for (int64_t c = 0; c < problem.d_v; ++c) {  // [3]
    double value = 0.0;
    for (int64_t i = 0; i < problem.num_parts; ++i) {
      if (std::isfinite(lses[i])) {
        value += weights[i] * element_at(args.outs[i], row.offset_in(args.outs[i]) + c);
      }
    }
    store(args.out, row.offset_in(args.out) + c, sum == 0.0 ? 0.0 : value / sum);
  }
  if (args.lse.data != nullptr) {  // [4]
    const double empty = problem.empty_is_positive() ? kInfinity : -kInfinity;
    const double merged = (largest + std::log2(sum)) / problem.log2_per_unit();
    store(args.lse, row.offset_in(args.lse), sum == 0.0 ? empty : merged);
  }
}

}  // namespace

Support supports_cpu(const Problem&, const Options&) { return Support::yes(); }

Status run_reference(const MergePlan& plan, const Args& args, const Call&) {
  const int64_t rows = batch_of(args) * plan.problem.s * plan.problem.h;
#pragma omp parallel for num_threads(threads_here(plan.options.num_threads))
  for (int64_t r = 0; r < rows; ++r) {
    merge_row(plan.problem, args, row_at(plan.problem, r));
  }
  return {};
}

}  // namespace seesaw::merge_states
