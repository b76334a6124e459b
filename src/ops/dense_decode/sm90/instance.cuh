// How a compiled instance of the kernel is launched.
#pragma once

#include "gpu/sm90/launch.cuh"
#include "ops/dense_decode/sm90/kernel.cuh"
#include "ops/dense_decode/sm90/kernels.hpp"

namespace seesaw::dense_decode::sm90 {

template <typename Config>
Status launch_instance(const DenseDecodeParams& params, const AttentionLaunch& launch) {
  return gpu::sm90::launch_roles<dense_decode_kernel<Config>>(
      {.name = "sm90.dense_decode",
       .shared_bytes = sizeof(SharedStorage<Config>),
       .threads = kThreads,
       .registers = kLaunchRegisters},
      launch, params);
}

}  // namespace seesaw::dense_decode::sm90
