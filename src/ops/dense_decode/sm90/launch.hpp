// sm90.dense_decode: the host side that any host compiler can include. See README.md beside this
// file for the algorithm.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "base/math.hpp"
#include "base/status.hpp"
#include "gpu/partials.hpp"
#include "ops/dense_decode/plan.hpp"
#include "ops/dense_decode/problem.hpp"
#include "ops/dense_decode/sm90/kernels.hpp"

namespace seesaw::dense_decode::sm90 {

inline constexpr int32_t kDenseDecodeTileTokens = 64;
inline constexpr int32_t kDenseDecodeTileRows = 64;

// Tiles of 64 packed (query token, head) rows that one KV head's queries fill.
inline int64_t dense_decode_row_tiles(const DenseDecodeProblem& problem) {
  return ceil_div<int64_t>(problem.rows(), kDenseDecodeTileRows);
}

// Workers that share the KV work: one thread block an SM, and each worker is
// h_kv * row_tiles thread blocks that walk the same tiles in step.
inline int32_t dense_decode_workers(const DenseDecodeProblem& problem, int32_t num_sms) {
  const int64_t blocks = problem.h_kv * dense_decode_row_tiles(problem);
  return blocks < num_sms ? static_cast<int32_t>(num_sms / blocks) : 1;
}

// How the kernel lays the partials out in the workspace: the combine reads them by the same rule.
inline gpu::PartialLayout dense_decode_partials(const DenseDecodePlan& plan) {
  return {.num_slots = split::max_partials(plan.split),
          .h_kv = plan.problem.h_kv,
          .rows_per_head = plan.problem.rows(),
          .d_v = plan.problem.d_v};
}

// Whether dtypes, shapes and cache strides suit the kernel; the device itself (compute capability
// 9.0) is the caller's to check.
Support supports_dense_decode_shape(const DenseDecodeProblem& problem);

// Launches attention on call.stream, on the current device, which must be the tensors'. Writes
// out and lse of unsplit sequences, and partials (in call.workspace) of split ones. Reads
// plan.problem, plan.split and arguments (schedule included: device memory). The launch releases a
// dependent launch with programmatic stream serialisation early; the dependent kernel must wait for
// the grid before it reads partials. Asynchronous; checked.
Status launch_dense_decode(const DenseDecodePlan& plan, const Args& args, const Call& call);

// The same with another instance of the kernel than the one for dtype and d_qk: launch_traced.
Status launch_dense_decode_as(const DenseDecodePlan& plan, const Args& args, const Call& call,
                              AttentionKernel kernel);

// Merges what launch_dense_decode left in the workspace. Asynchronous; checked.
Status combine_dense_decode(const DenseDecodePlan& plan, const Args& args, const Call& call,
                            int32_t num_sms);

}  // namespace seesaw::dense_decode::sm90
