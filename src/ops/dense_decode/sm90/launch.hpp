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

// What a launch and the combine need of a plan, found once a call: divisions are what a call's host
// time is made of (notebook 0071).
struct Geometry {
  int32_t group;        // query heads of a KV head
  int32_t rows;         // query rows of a KV head
  int32_t row_tiles;    // of a KV head
  int32_t group_tiles;  // row tiles of a row group (split/row_groups.hpp)
  gpu::PartialLayout partials;
};
Geometry geometry_of(const DenseDecodePlan& plan);

// Whether the cache's strides and the number of rows suit the kernel; the device itself (compute
// capability 9.0) is the caller's to check.
Support supports_dense_decode_shape(const DenseDecodeProblem& problem);

// TMA reads the cache, and only whole 16 bytes; dtype and strides were settled when planning. To be
// asked before anything of a call is launched.
Status check_alignment(const Args& args);

// Launches attention by `kernel` (a FindKernel's, or launch_traced) on call.stream, on the
// current device, which must be the tensors'. Writes out and lse of unsplit sequences, and partials
// (in call.workspace) of split ones. Reads plan.problem, plan.split and arguments (schedule
// included: device memory). The launch releases a dependent launch with programmatic stream
// serialisation early; the dependent kernel must wait for the grid before it reads partials.
// Asynchronous; checked.
Status launch_dense_decode(const DenseDecodePlan& plan, const Geometry& geometry, const Args& args,
                           const Call& call, const AttentionKernel& kernel);

// Merges what launch_dense_decode left in the workspace. Asynchronous; checked.
Status combine_dense_decode(const DenseDecodePlan& plan, const Geometry& geometry, const Args& args,
                            const Call& call, int32_t num_sms);

}  // namespace seesaw::dense_decode::sm90
