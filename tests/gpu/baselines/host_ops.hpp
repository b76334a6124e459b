// The operations in plain loops, sums in double, on host memory: what the GPU's are compared with.
// Results are rounded where ops.hpp rounds them, and to the same types.
#pragma once

#include "baselines/ops.hpp"

namespace seesaw::baselines::gpu_test {

// An element of a view on the host.
double load(const View& view, int64_t index);
void store(const View& view, int64_t index, double value);

class HostOps final : public Ops {
 public:
  using Ops::Ops;
  Status gemm(const Gemm& step) override;
  Status softmax(const Softmax& step) override;
  Status rms_norm(const RmsNorm& step) override;
  Status rotary(const Rotary& step) override;
  Status copy(const View& from, const View& to) override;
};

}  // namespace seesaw::baselines::gpu_test
