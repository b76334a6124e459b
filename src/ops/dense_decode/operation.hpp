// The table of dense-decoding kernels, in order of preference: the only place that names them all.
#pragma once

#include <cstddef>
#include <span>

#include "base/status.hpp"
#include "ops/dense_decode/plan.hpp"
#include "core/trace.hpp"
#include "ops/dense_decode/problem.hpp"

namespace seesaw::engine {

// One kernel behind plain function pointers. `name` is its path under src/kernels.
struct DenseDecodeKernel {
  const char* name;
  Support (*supports)(const DenseDecodeProblem&);
  DenseDecodePlan (*plan)(const DenseDecodeProblem&);  // only for a supported problem
  // Builds the schedule for validated lengths; on a GPU by one launch on `stream`.
  Status (*schedule)(const DenseDecodePlan&, const TensorView& seq_lens, void* schedule,
                     void* stream);
  Status (*run)(const DenseDecodePlan&, const DenseDecodeArguments&);  // arguments are validated
  // The same, noting who did what when; may allocate and wait for the device. Null: no such
  // variant.
  Status (*trace)(const DenseDecodePlan&, const DenseDecodeArguments&, split::Trace*) = nullptr;
};

// Fastest first, the reference last.
std::span<const DenseDecodeKernel> dense_decode_kernels();

// Bound of their number: the counters of each lie in static memory.
inline constexpr size_t kMaxDenseDecodeKernels = 16;

// The kernel's answer, unless the environment variable SEESAW_DISABLE names it.
Support supports(const DenseDecodeKernel& kernel, const DenseDecodeProblem& problem);

// Whether lengths and schedules of this kernel's calls lie in host memory.
bool runs_on_host(const DenseDecodeKernel& kernel);

}  // namespace seesaw::engine
