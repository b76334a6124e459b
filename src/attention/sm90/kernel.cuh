// The kernel: set up, then a switch over roles.
#pragma once

#include "attention/device/foreign_schedule.cuh"
#include "attention/sm90/consumer.cuh"
#include "attention/sm90/producer.cuh"
#include "attention/sm90/swapped_consumer.cuh"
#include "gpu/marks.cuh"
#include "gpu/ptx/grid_dependency.cuh"

namespace seesaw::attention::sm90 {

template <typename Config>
__global__ void __launch_bounds__(kThreads, 1)
    attention_kernel(const __grid_constant__ Params params) {
  static_assert(kSharedBytes<Config> <= 227 * 1024);
  auto& storage = *reinterpret_cast<SharedStorage<Config>*>(ptx::dynamic_shared());
  const SharedAddresses<Config> shared(storage);
  const int warp = __shfl_sync(~0u, static_cast<int>(threadIdx.x) / 32, 0);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  gpu::mark<Config>(0, gpu::Mark::kEntered);
  if (threadIdx.x == 0) {
    init_barriers(shared);
    storage.pieces.not_finite[0][0] = storage.pieces.not_finite[0][1] = 0;
    storage.pieces.not_finite[1][0] = storage.pieces.not_finite[1][1] = 0;
  }
  ptx::wait_for_previous_grid();
  if (threadIdx.x == 0) storage.tiles.work = block_work(params);
  __syncthreads();
  ptx::release_next_grid();
  gpu::mark<Config>(0, gpu::Mark::kGo);
  if (__builtin_expect(storage.tiles.work.foreign, 0)) refuse_schedule<Config>(params);

  constexpr int kConsumerWarps = kConsumerThreads / 32;
  if (warp >= kConsumerWarps) {
    ptx::lower_registers<Config::kProducerRegisters>();
    const int producer = warp - kConsumerWarps;
    Producer<Config>{
        params, shared, storage.tiles, producer / kBufferWarps, producer % kBufferWarps, lane}
        .run();
  } else {
    ptx::raise_registers<Config::kConsumerRegisters>();
    using ConsumerOfConfig =
        std::conditional_t<Config::kSwapped, SwappedConsumer<Config>, Consumer<Config>>;
    ConsumerOfConfig(params, shared, storage, {warp % 4, lane}).run(static_cast<Side>(warp / 4));
    gpu::mark<Config>(0, gpu::Mark::kLeft);
  }
}

}  // namespace seesaw::attention::sm90
