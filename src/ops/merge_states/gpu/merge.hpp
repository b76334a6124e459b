// gpu.merge_states: the kernel's parameters, and its functions behind the operation's table.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "ops/merge_states/problem.hpp"

namespace seesaw::merge_states::gpu {

inline constexpr int kMostParts = SEESAW_MERGE_STATES_MOST_PARTS;

// A tensor of rows: [b, s, h] of d_v columns, or of one LSE.
struct Rows {
  void* data;
  int64_t stride[3];  // elements
};

// One launch.
struct MergeParams {
  Rows outs[kMostParts];
  Rows lses[kMostParts];
  Rows out;
  Rows lse;          // data may be null
  int64_t num_rows;  // b * s * h, below 2^31
  int32_t num_parts;
  int32_t s;
  int32_t h;
  int32_t d_v;
  float log2_per_unit;  // of an LSE
  float empty_lse;
};

// Whether rows are read and written 16 bytes at a time, or an element.
enum class Access { kUnits, kElements };

cudaError_t launch_merge(const MergeParams& params, DType dtype, Access access,
                         cudaStream_t stream);

Support supports(const Problem& problem, const Options& options);
Status run(const MergePlan& plan, const Args& args, const Call& call);

struct Kernel {
  static constexpr Functions kFunctions = {.supports = supports, .plan = plan, .run = run};
};

}  // namespace seesaw::merge_states::gpu
