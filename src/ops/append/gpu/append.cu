// Blocks of warps that write a token each, and behind them blocks that turn queries: one launch.
#include "gpu/launch.cuh"
#include "ops/append/gpu/append.hpp"
#include "ops/append/gpu/queries.cuh"
#include "ops/append/gpu/scaled_record.cuh"

namespace seesaw::append::gpu {
namespace {

__device__ void count_saturated(unsigned long long* total, int count, int lane) {
  for (int step = 16; step > 0; step /= 2) {
    count += __shfl_xor_sync(~0U, count, step);
  }
  if (lane == 0 && count > 0) {
    atomicAdd(total, static_cast<unsigned long long>(count));
  }
}

// Both kinds of record: slot and columns are asked for together, so that one latency serves both;
// the columns of a token without a slot are read in vain.

__device__ int64_t load_slot(const AppendParams& p, int64_t token) {
  return p.slots[token * p.slot_stride];
}

__device__ bool is_slot(const AppendParams& p, int64_t slot) {
  return slot >= 0 && slot < p.num_slots;
}

template <Access kAccess, typename T>
__device__ void append_plain(const AppendParams& p, int64_t token, const T* latent, const T* rope,
                             int lane) {
  const int64_t slot = load_slot(p, token);
  SegmentCopy<kAccess, T, 2> latent_copy = {p.record.latent, latent, lane};
  RopeCopy<kAccess, T> rope_copy = {p, token, {p.record.rotary, rope, lane}};
  latent_copy.load_from(0);
  rope_copy.load();
  if (!is_slot(p, slot)) {
    return;  // the whole warp
  }
  const RecordAt at = record_at(p, slot);
  latent_copy.write(at.row);
  rope_copy.write(at.row + p.record.rotary.offset);
}

template <Access kAccess, typename T>
__device__ void append_scaled(const AppendParams& p, int64_t token, const T* latent, const T* rope,
                              int lane) {
  const bool scales_rope = p.record.scales_rope();
  const int64_t slot = load_slot(p, token);
  LatentColumns<T> columns;
  constexpr int kRopeUnits = kAccess == Access::kUnits ? 1 : kLaneRope;
  RopeCopy<kAccess, T, kRopeUnits, true> rope_copy = {p, token, {p.record.rotary, rope, lane}};
  Pair scaled_rope = {};
  columns.template load_from<kAccess>(latent, p.record.latent.count, lane);
  if (scales_rope) {
    scaled_rope = rope_of_lane<kAccess>(p, token, rope, lane);  // [2]
  } else {
    rope_copy.load();
  }
  if (!is_slot(p, slot)) {
    return;
  }
  const RecordAt at = record_at(p, slot);
  if (!scales_rope) {
    rope_copy.write(at.segment(p.record.rotary));
  }
  const int saturated = quantize_record<kAccess>(p, token, columns, scaled_rope, at, lane);
  if (p.scales.saturated != nullptr) {
    count_saturated(p.scales.saturated, saturated, lane);
  }
}

template <Records kRecords, Access kAccess, typename T>
__global__ void __launch_bounds__(kThreads, blocks_at_once(kAccess))
    append_kernel(const __grid_constant__ AppendParams p) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  if (blockIdx.x < p.append_blocks) {
    const int64_t token = int64_t{blockIdx.x} * kWarps + warp;
    if (token >= p.tokens) {
      return;
    }
    const T* const latent = static_cast<const T*>(p.c_kv) + token * p.c_kv_stride;
    const T* const rope = static_cast<const T*>(p.k_rope) + token * p.k_rope_stride;
    if constexpr (kRecords == Records::kPlain) {
      append_plain<kAccess>(p, token, latent, rope, lane);
    } else {
      append_scaled<kAccess>(p, token, latent, rope, lane);
    }
    return;
  }
  const int64_t blocks = int64_t{gridDim.x} - p.append_blocks;  // of queries
  const int64_t warps = p.tokens * p.queries.warps_per_token;
  for (int64_t w = (int64_t{blockIdx.x} - p.append_blocks) * kWarps + warp; w < warps;
       w += blocks * kWarps) {
    turn_queries<kAccess, T>(p, w, lane);
  }
}

template <Records kRecords, Access kAccess, typename T>
cudaError_t launch(const AppendParams& params, cudaStream_t stream) {
  constexpr int64_t kMostQueryBlocks = 1 << 20;
  const int64_t warps = params.tokens * params.queries.warps_per_token;
  const int64_t wanted = (warps + kWarps - 1) / kWarps;
  const int64_t query_blocks = wanted < kMostQueryBlocks ? wanted : kMostQueryBlocks;
  const seesaw::gpu::LaunchShape shape = {
      .grid = dim3(params.append_blocks + static_cast<unsigned>(query_blocks)),
      .block = dim3(kThreads),
      .shared_bytes = 0,
      .stream = stream};
  return seesaw::gpu::launch_kernel(append_kernel<kRecords, kAccess, T>, shape, params);
}

template <typename T>
cudaError_t launch(const AppendParams& params, Access access, cudaStream_t stream) {
  const bool plain = params.record.scaled_columns == 0;
  if (access == Access::kUnits) {
    return plain ? launch<Records::kPlain, Access::kUnits, T>(params, stream)
                 : launch<Records::kScaled, Access::kUnits, T>(params, stream);
  }
  return plain ? launch<Records::kPlain, Access::kElements, T>(params, stream)
               : launch<Records::kScaled, Access::kElements, T>(params, stream);
}

}  // namespace

cudaError_t launch_append(const AppendParams& params, DType dtype, Access access,
                          cudaStream_t stream) {
  switch (dtype) {
    case DType::kBFloat16:
      return launch<__nv_bfloat16>(params, access, stream);
    case DType::kFloat16:
      return launch<__half>(params, access, stream);
    default:
      return launch<float>(params, access, stream);
  }
}

}  // namespace seesaw::append::gpu
