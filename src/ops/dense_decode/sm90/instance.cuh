// How a compiled instance of the kernel is launched.
#pragma once

#include "gpu/launch.cuh"
#include "ops/dense_decode/sm90/kernel.cuh"
#include "ops/dense_decode/sm90/kernels.hpp"

namespace seesaw::dense_decode::sm90 {

template <typename Config>
Status launch_instance(const DenseDecodeParams& params, const AttentionLaunch& launch) {
  constexpr size_t kBytes = sizeof(SharedStorage<Config>);
  // The kernel waits for the one before it itself, after its own set-up.
  return gpu::launch_attention<dense_decode_kernel<Config>>(
      {.name = "sm90.dense_decode",
       .dynamic_shared_bytes = static_cast<int>(kBytes),
       .registers = kLaunchRegisters},
      launch.device,
      {.grid = launch.grid,
       .block = dim3(kThreads),
       .shared_bytes = kBytes,
       .stream = launch.stream,
       .edge = gpu::Edge::kProgrammatic},
      params);
}

}  // namespace seesaw::dense_decode::sm90
