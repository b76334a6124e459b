// The kernel: set up, then a switch over roles.
#pragma once

#include "gpu/ptx/grid_dependency.cuh"
#include "ops/dense_decode/sm90/foreign_schedule.cuh"
#include "ops/dense_decode/sm90/producer.cuh"
#include "ops/dense_decode/sm90/roles.cuh"

namespace seesaw::dense_decode::sm90 {

template <typename Config>
__global__ void __launch_bounds__(kThreads, 1)
    dense_decode_kernel(const __grid_constant__ DenseDecodeParams params) {
  static_assert(kFitsSharedMemory<Config>);
  auto& storage = *reinterpret_cast<SharedStorage<Config>*>(ptx::dynamic_shared());
  const SharedAddresses<Config> shared(storage);
  const int warp = __shfl_sync(~0u, static_cast<int>(threadIdx.x) / 32, 0);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  gpu::mark<Config>(0, gpu::Mark::kEntered);

  const int warpgroup = warp / 4;
  constexpr int kFirstLoaderWarp = 2 * 4;           // of warpgroup 2, the producers
  constexpr int kQueryWarp = kFirstLoaderWarp + 2;  // behind the two KV loaders
  const bool first_loader = warp == kFirstLoaderWarp;
  if (first_loader && lane == 0) {
    init_barriers(shared, params.q_by_tma);
    storage.not_finite[0][0] = storage.not_finite[0][1] = 0;
    storage.not_finite[1][0] = storage.not_finite[1][1] = 0;
    ptx::prefetch_tensor_map(&params.kv_map);
    ptx::prefetch_tensor_map(&params.kv_rotary_map);
  }
  if (warp == kQueryWarp && lane == 0 && params.q_by_tma) {
    ptx::prefetch_tensor_map(&params.q_half_map);
    if constexpr (Config::kHasRotaryBox) ptx::prefetch_tensor_map(&params.q_rotary_map);
  }
  ptx::wait_for_previous_grid();
  const BlockWork work = block_work(params);
  // The first KV loader starts at once; everybody else needs to know that the barriers are there.
  if (first_loader) {
    __syncwarp();
    ptx::barrier_arrive(kBarriersReady, kThreads);
  } else {
    ptx::barrier_sync(kBarriersReady, kThreads);
  }
  gpu::mark<Config>(0, gpu::Mark::kGo);
  ptx::release_next_grid();
  if (__builtin_expect(work.foreign, 0)) refuse_schedule(params);

  const ConsumerThread thread{warp % 4, lane};
  if (warpgroup == 2) {
    ptx::lower_registers<kProducerRegisters>();
    if (warp % 4 < 2) {
      if (lane == 0) KvLoader<Config>{params, shared, work, warp % 4}.run();
    } else if (!params.q_by_tma) {
      QueryRowLoader<Config>{params, shared, storage, work}.run();
    } else if (warp == kQueryWarp && lane == 0) {
      QueryBoxLoader<Config>{params, shared, storage, work}.run();
    }
  } else {
    ptx::raise_registers<kConsumerRegisters>();
    Consumer<Config>(params, shared, storage, work, thread).run(static_cast<Side>(warpgroup));
    gpu::mark<Config>(0, gpu::Mark::kLeft);
  }
}

}  // namespace seesaw::dense_decode::sm90
