// DEV
#pragma once
#include "ops/sparse_prefill/problem.hpp"
namespace seesaw::sparse_prefill {
struct SparsePlan : Plan {
  SparsePrefillProblem problem;
  Options options;
};
using Functions = KernelFunctions<SparsePrefillProblem, Args, SparsePlan>;
inline constexpr std::span<const Knob> kCpuKnobs{};
Support supports(const SparsePrefillProblem&, const Options&);
Status plan(const SparsePrefillProblem&, const Options&, KnobValues, SparsePlan*);
Status run(const SparsePlan&, const Args&, const Call&);
struct CpuKernel {
  static constexpr Functions kFunctions = {.supports = supports, .plan = plan, .run = run};
};
struct ReferenceKernel {
  static constexpr Functions kFunctions = {.supports = supports, .plan = plan, .run = run};
};
}  // namespace seesaw::sparse_prefill
