// The operations on the CPU: oneDNN's matrix products, OpenMP loops over rows.
#pragma once

#include "baselines/ops.hpp"

namespace seesaw::baselines::cpu {

// Where a model's matrix products go: recorded when planning, run when running.
class Products {
 public:
  virtual ~Products() = default;
  // Operands of one dtype that oneDNN has products of; c of that dtype or float32.
  virtual Status product(const Gemm& step) = 0;
  virtual void count_conversion() {}  // the next product is of converted operands
};

enum class Pass { kRehearsal, kRun };

// In a rehearsal nothing but products() and the arena is touched.
class CpuOps final : public Ops {
 public:
  CpuOps(Arena& arena, Products& products, Pass pass)
      : Ops(arena), products_(products), pass_(pass) {}

  Status gemm(const Gemm& step) override;
  Status softmax(const Softmax& step) override;
  Status rms_norm(const RmsNorm& step) override;
  Status rotary(const Rotary& step) override;
  Status copy(const View& from, const View& to) override;

 private:
  Status widened(const View& view, View* wide);
  Status gemm_through_float32(const Gemm& step);

  Products& products_;
  Pass pass_;
};

}  // namespace seesaw::baselines::cpu
