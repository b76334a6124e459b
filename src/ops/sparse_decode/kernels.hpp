// DEV
#pragma once
#include "ops/sparse_decode/problem.hpp"
namespace seesaw::sparse_decode {
struct SparsePlan : Plan {
  SparseDecodeProblem problem;
  Options options;
};
using Functions = KernelFunctions<SparseDecodeProblem, Args, SparsePlan>;
inline constexpr std::span<const Knob> kCpuKnobs{};
Support supports(const SparseDecodeProblem&, const Options&);
Status plan(const SparseDecodeProblem&, const Options&, KnobValues, SparsePlan*);
Status run(const SparsePlan&, const Args&, const Call&);
struct CpuKernel {
  static constexpr Functions kFunctions = {.supports = supports, .plan = plan, .run = run};
};
struct ReferenceKernel {
  static constexpr Functions kFunctions = {.supports = supports, .plan = plan, .run = run};
};
}  // namespace seesaw::sparse_decode
