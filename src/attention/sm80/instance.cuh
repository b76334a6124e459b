// How an instance of the kernel is launched.
#pragma once

#include "attention/sm80/kernel.cuh"
#include "attention/sm80/kernels.hpp"
#include "gpu/launch.cuh"

namespace seesaw::attention::sm80 {

template <typename Config>
Status launch_instance(const Params& params, const KernelLaunch& launch) {
  return gpu::launch_attention<attention_kernel<Config>>(
      {.name = "sm80 attention", .dynamic_shared_bytes = gpu::kMostDynamicSharedBytes},
      launch.device,
      {.grid = launch.grid,
       .block = dim3(Config::kThreads),
       .shared_bytes = static_cast<size_t>(params.shared.bytes),
       .stream = launch.stream,
       .edge = launch.edge},
      params);
}

template <typename Config>
constexpr Instance instance_of() {
  return {.numbers = {.value_columns = Config::kValueColumns,
                      .row_warps = Config::kRowWarps,
                      .tile_bytes = Config::kTileBytes,
                      .rest_bytes = static_cast<int32_t>(sizeof(SharedRest<Config>))},
          .launch = launch_instance<Config>};
}

template <typename Element, bool kConverts>
std::span<const Instance> instances_of() {
  static constexpr Instance kInstances[] = {instance_of<Config<Element, 512, 1, kConverts>>(),
                                            instance_of<Config<Element, 512, 2, kConverts>>(),
                                            instance_of<Config<Element, 256, 1, kConverts>>(),
                                            instance_of<Config<Element, 256, 2, kConverts>>()};
  return kInstances;
}

}  // namespace seesaw::attention::sm80
