// Operations that do nothing but count, so that what a model costs is said by the model itself.
#pragma once

#include "baselines/ops.hpp"
#include "seesaw/baselines.h"

namespace seesaw::baselines {

class CostOps final : public Ops {
 public:
  explicit CostOps(Arena& arena) : Ops(arena) {}

  Status gemm(const Gemm& step) override;
  Status softmax(const Softmax& step) override;
  Status rms_norm(const RmsNorm& step) override;
  Status rotary(const Rotary& step) override;
  Status copy(const View& from, const View& to) override;

  // What the steps so far come to; what is said of parameters and of the cache stays 0.
  const seesaw_baseline_cost& cost() const { return cost_; }

 private:
  seesaw_baseline_cost cost_{};
};

}  // namespace seesaw::baselines
