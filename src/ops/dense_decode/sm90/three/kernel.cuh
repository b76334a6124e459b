// The kernel: set up, then a switch over roles.
#pragma once

#include "gpu/marks.cuh"
#include "gpu/ptx/grid_dependency.cuh"
#include "ops/dense_decode/sm90/foreign_schedule.cuh"
#include "ops/dense_decode/sm90/three/output.cuh"
#include "ops/dense_decode/sm90/three/scores.cuh"

namespace seesaw::dense_decode::sm90::three {

template <typename Config>
__global__ void __launch_bounds__(kThreads, 1)
    dense_decode_three_kernel(const __grid_constant__ DenseDecodeParams params) {
  gpu::mark<Config>(0, gpu::Mark::kEntered);
  auto& storage = *reinterpret_cast<SharedStorage*>(ptx::dynamic_shared());
  const SharedAddresses shared(storage);
  const int warpgroup = __shfl_sync(~0u, static_cast<int>(threadIdx.x) / kWarpgroupThreads, 0);
  constexpr int kFirstLoader = kWarpgroupThreads;  // the left half's
  if (threadIdx.x == kFirstLoader) {
    init_barriers(shared);
    storage.not_finite[0] = storage.not_finite[1] = 0;
    ptx::prefetch_tensor_map(&params.kv_map);
    ptx::prefetch_tensor_map(&params.kv_rotary_map);
    if (params.q_by_tma) {
      ptx::prefetch_tensor_map(&params.q_half_map);
      if constexpr (Config::kHasRotaryBox) ptx::prefetch_tensor_map(&params.q_rotary_map);
    }
  }
  ptx::wait_for_previous_grid();
  const BlockWork work = block_work(params);
  if (threadIdx.x == kFirstLoader) storage.work = work;
  ptx::barrier_sync(kBarriersReady, kThreads);
  ptx::release_next_grid();
  gpu::mark<Config>(0, gpu::Mark::kGo);
  if (__builtin_expect(work.foreign, 0)) refuse_schedule(params);

  if (warpgroup == 0) {
    ptx::raise_registers<kScoreRegisters>();
    Scores<Config>(params, shared).run();
  } else {
    ptx::lower_registers<kOutputRegisters>();
    const Output<Config> output{params, shared, storage, static_cast<Side>(warpgroup - 1)};
    if (output.is_loader()) output.loader().start();
    output.run();
  }
  gpu::mark<Config>(0, gpu::Mark::kLeft);
}

}  // namespace seesaw::dense_decode::sm90::three
