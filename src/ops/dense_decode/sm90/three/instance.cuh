// How a compiled instance of the kernel is launched.
#pragma once

#include "gpu/sm90/launch.cuh"
#include "ops/dense_decode/sm90/kernels.hpp"
#include "ops/dense_decode/sm90/three/kernel.cuh"

namespace seesaw::dense_decode::sm90::three {

template <typename Config>
Status launch_instance(const DenseDecodeParams& params, const AttentionLaunch& launch) {
  return gpu::sm90::launch_roles<dense_decode_three_kernel<Config>>(
      {.name = "sm90.dense_decode.three",
       .shared_bytes = sizeof(SharedStorage),
       .threads = kThreads,
       .registers = kLaunchRegisters},
      launch, params);
}

}  // namespace seesaw::dense_decode::sm90::three
