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

template <Access kAccess, typename T>
__device__ void append_token(const AppendParams& p, int64_t token, int lane) {
  const int64_t slot = token < p.tokens ? p.slots[token * p.slot_stride] : -1;
  if (slot < 0 || slot >= p.num_slots) {
    return;  // the whole warp
  }
  const T* const latent = static_cast<const T*>(p.c_kv) + token * p.c_kv_stride;
  const T* const rope = static_cast<const T*>(p.k_rope) + token * p.k_rope_stride;
  const RecordAt at = record_at(p, slot);
  if (p.record.scaled_columns == 0) {
    copy_segment<kAccess>(p.record.latent, latent, at.row, lane);
    if (p.record.rotary.count > 0) {
      write_rope<kAccess>(p, token, rope, at.row + p.record.rotary.offset, lane);
    }
    return;
  }
  const int saturated = quantize_record<kAccess>(p, token, latent, rope, at, lane);
  if (p.scales.saturated != nullptr) {
    count_saturated(p.scales.saturated, saturated, lane);
  }
}

template <Access kAccess, typename T>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    append_kernel(const __grid_constant__ AppendParams p) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  if (blockIdx.x < p.append_blocks) {
    append_token<kAccess, T>(p, int64_t{blockIdx.x} * kWarps + warp, lane);
    return;
  }
  const int64_t blocks = int64_t{gridDim.x} - p.append_blocks;  // of queries
  const int64_t warps = p.tokens * p.queries.warps_per_token;
  for (int64_t w = (int64_t{blockIdx.x} - p.append_blocks) * kWarps + warp; w < warps;
       w += blocks * kWarps) {
    turn_queries<kAccess, T>(p, w, lane);
  }
}

template <typename T>
cudaError_t launch(const AppendParams& params, Access access, cudaStream_t stream) {
  constexpr int64_t kMostQueryBlocks = 1 << 20;
  const int64_t warps = params.tokens * params.queries.warps_per_token;
  const int64_t wanted = (warps + kWarps - 1) / kWarps;
  const int64_t query_blocks = wanted < kMostQueryBlocks ? wanted : kMostQueryBlocks;
  const seesaw::gpu::LaunchShape shape = {
      .grid = dim3(params.append_blocks + static_cast<unsigned>(query_blocks)),
      .block = dim3(kThreads),
      .shared_bytes = 0,
      .stream = stream};
  return access == Access::kUnits
             ? seesaw::gpu::launch_kernel(append_kernel<Access::kUnits, T>, shape, params)
             : seesaw::gpu::launch_kernel(append_kernel<Access::kElements, T>, shape, params);
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
