#include "baselines/cost_ops.hpp"

#include <algorithm>

namespace seesaw::baselines {
namespace {

double bytes(const View& view) { return view.present() ? static_cast<double>(view.bytes()) : 0.0; }

}  // namespace

Status CostOps::gemm(const Gemm& step) {
  const double operations =
      2.0 * static_cast<double>(step.c.elements()) * static_cast<double>(step.a.shape[3]);
  const double moved = bytes(step.a) + bytes(step.b) + bytes(step.bias) +
                       (step.accumulate ? 2.0 : 1.0) * bytes(step.c);
  const bool projection = step.part == Part::kProjection;
  (projection ? cost_.projection_operations : cost_.attention_operations) += operations;
  (projection ? cost_.projection_bytes : cost_.attention_bytes) += moved;
  return {};
}

Status CostOps::softmax(const Softmax& step) {
  cost_.attention_bytes += bytes(step.scores) + bytes(step.probabilities);
  const bool in_place = step.scores.data == step.probabilities.data;
  const int64_t held = step.scores.bytes() + (in_place ? 0 : step.probabilities.bytes());
  cost_.score_bytes = std::max(cost_.score_bytes, static_cast<uint64_t>(held));
  return {};
}

Status CostOps::rms_norm(const RmsNorm& step) {
  cost_.other_bytes += bytes(step.x) + bytes(step.weight) + bytes(step.out);
  return {};
}

Status CostOps::rotary(const Rotary& step) {
  cost_.other_bytes += bytes(step.x) + bytes(step.out);
  return {};
}

Status CostOps::copy(const View& from, const View& to) {
  cost_.other_bytes += bytes(from) + bytes(to);
  return {};
}

}  // namespace seesaw::baselines
