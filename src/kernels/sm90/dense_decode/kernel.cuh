// The kernel: set up, then a switch over roles.
#pragma once

#include "kernels/sm90/dense_decode/roles.cuh"

namespace seesaw::sm90 {

template <typename Config>
__global__ void __launch_bounds__(kThreads, 1)
    dense_decode_kernel(const __grid_constant__ DenseDecodeParams params) {
  static_assert(kFitsSharedMemory<Config>);
  extern __shared__ __align__(1024) uint8_t dynamic_shared[];
  auto& storage = *reinterpret_cast<SharedStorage<Config>*>(dynamic_shared);
  const SharedAddresses<Config> shared(storage);
  const int warp = __shfl_sync(~0u, static_cast<int>(threadIdx.x) / 32, 0);
  const int lane = static_cast<int>(threadIdx.x) % 32;

  if (threadIdx.x == 0) {
    init_barriers(shared);
    ptx::prefetch_tensor_map(&params.kv_map);
  }
  ptx::wait_for_previous_grid();
  const BlockWork work = block_work(params);
  __syncthreads();
  ptx::release_next_grid();

  const int warpgroup = warp / 4;
  const ConsumerThread thread{warp % 4, lane};
  if (warpgroup == 2) {
    ptx::lower_registers<kProducerRegisters>();
    if (warp % 4 != 0) {
      QueryLoader<Config>{params, shared, storage, work}.run();
    } else if (lane == 0) {
      KvLoader<Config>{params, shared, work.kv_head}.run(work);
    }
  } else if (warpgroup == 0) {
    ptx::raise_registers<kConsumerRegisters>();
    Consumer<Config>{params, shared, storage, work, thread}.run_left();
  } else {
    ptx::raise_registers<kConsumerRegisters>();
    Consumer<Config>{params, shared, storage, work, thread}.run_right();
  }
}

}  // namespace seesaw::sm90
