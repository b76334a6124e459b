#include <algorithm>

#include "gpu/launch.cuh"
#include "ops/append/gpu/check.hpp"

namespace seesaw::append::gpu {
namespace {

__device__ void note(unsigned long long* first, int64_t offender) {
  atomicMin(first, static_cast<unsigned long long>(offender));
}

__global__ void __launch_bounds__(kThreads) check_kernel(const __grid_constant__ CheckParams p) {
  const AppendParams& call = p.call;
  const int32_t count = call.record.scales.count;
  for (int64_t t = blockIdx.x * int64_t{kThreads} + threadIdx.x; t < call.tokens;
       t += int64_t{gridDim.x} * kThreads) {
    if (call.slots[t * call.slot_stride] >= call.num_slots) {
      note(&p.faults->slot, t);
    }
    if (call.rotary.rotary != SEESAW_ROTARY_NONE) {
      const int64_t position = call.rotary.positions[t * call.rotary.position_stride];
      if (position < 0 || position >= call.rotary.max_position) {
        note(&p.faults->position, t);
      }
    }
    for (int32_t g = 0; call.scales.given != nullptr && g < count; ++g) {
      if (!is_scale(call.scales.given[t * call.scales.given_stride + g])) {
        note(&p.faults->scale, t * count + g);
      }
    }
    if (t == 0 && call.record.tensor_scale && call.scales.kv_scale != nullptr &&
        !is_scale(*call.scales.kv_scale)) {
      note(&p.faults->kv_scale, 0);
    }
  }
}

}  // namespace

cudaError_t launch_check(const CheckParams& params, cudaStream_t stream) {
  const cudaError_t error = cudaMemsetAsync(params.faults, 0xFF, sizeof(Faults), stream);
  if (error != cudaSuccess) {
    return error;
  }
  const int64_t blocks =
      std::clamp<int64_t>((params.call.tokens + kThreads - 1) / kThreads, 1, 1024);
  const seesaw::gpu::LaunchShape shape = {.grid = dim3(static_cast<unsigned>(blocks)),
                                          .block = dim3(kThreads),
                                          .shared_bytes = 0,
                                          .stream = stream};
  return seesaw::gpu::launch_kernel(check_kernel, shape, params);
}

}  // namespace seesaw::append::gpu
