// gpu.append: the kernel's parameters, and its functions behind the operation's table.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "base/host_device.hpp"
#include "gpu/divisor.hpp"
#include "ops/append/problem.hpp"

namespace seesaw::append::gpu {

// Of records with scales a lane has 16 neighbouring latent columns and 2 rotary ones.
inline constexpr int kLanes = 32;
inline constexpr int kLaneLatent = 16;
inline constexpr int kLaneRope = 2;

// The record of a token, as core/cache_format.hpp has it.
struct RecordParams {
  Segment latent;
  Segment rotary;
  Segment scales;
  int32_t scaled_columns;    // the first of the record; 0: a plain format
  bool one_scale;            // a group has all columns
  int32_t scale_group_log2;  // columns of a group, unless it has all
  int32_t latent_group_lanes;
  int32_t rope_group_lanes;
  bool tensor_scale;
  int32_t row_bytes;
  int32_t tail_bytes;

  SEESAW_HOST_DEVICE bool scales_rope() const { return scaled_columns > latent.count; }
};

// Tensors [t, ...] are given as their first element and their stride in elements.
struct RotaryParams {
  int32_t rotary;  // seesaw_rotary
  DType dtype;     // of cos_sin
  int32_t d_rope;
  const int64_t* positions;
  int64_t position_stride;
  const void* cos_sin;  // [max_position, d_rope]
  int64_t cos_sin_stride;
  int64_t max_position;
};

struct ScaleParams {
  ScaleRule rule;
  const float* given;  // [t, scales of a token], or null
  int64_t given_stride;
  const float* kv_scale;          // [1], or null
  unsigned long long* saturated;  // [1], or null
};

struct QueryParams {
  void* q;  // [t, h_q, d_rope], or null
  int64_t token_stride;
  int64_t head_stride;
  int32_t h_q;
  int32_t warps_per_token;  // 32 units each
};

// One launch.
struct AppendParams {
  int64_t tokens;
  const void* c_kv;
  int64_t c_kv_stride;
  const void* k_rope;
  int64_t k_rope_stride;
  const int64_t* slots;
  int64_t slot_stride;
  uint8_t* cache;
  int64_t page_stride_bytes;
  int64_t row_stride_bytes;
  seesaw::gpu::PageSize page_size;
  int64_t tails;  // bytes of a page's rows, behind which their tails are
  int64_t num_slots;
  uint32_t append_blocks;  // the blocks behind these turn queries
  RecordParams record;
  RotaryParams rotary;
  ScaleParams scales;
  QueryParams queries;
};

inline constexpr int kWarps = 4;  // of a block
inline constexpr int kThreads = 32 * kWarps;

// Whether records have scales.
enum class Records { kPlain, kScaled };

// Whether rows are read and written 16 bytes at a time, or element by element, in bytes where
// nothing better is aligned.
enum class Access { kUnits, kElements };

// Rows in flight hide the latency of memory: an SM has as many blocks as registers allow, 64 a
// thread in units, 80 element by element.
constexpr int blocks_at_once(Access access) { return access == Access::kUnits ? 8 : 6; }

// Pairs that a thread turns at once: 16 bytes of 16-bit elements each of x and y.
SEESAW_HOST_DEVICE constexpr int32_t pairs_at_once(Access access) {
  return access == Access::kUnits ? 8 : 1;
}

cudaError_t launch_append(const AppendParams& params, DType dtype, Access access,
                          cudaStream_t stream);

Support supports(const Problem& problem, const Options& options);
Status plan(const Problem& problem, const Options& options, KnobValues knobs, AppendPlan* plan);
Status run(const AppendPlan& plan, const Args& args, const Call& call);

struct Kernel {
  static constexpr Functions kFunctions = {.supports = supports, .plan = plan, .run = run};
};

}  // namespace seesaw::append::gpu
