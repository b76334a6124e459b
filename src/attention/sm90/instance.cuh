// How an instance of the kernel is launched.
#pragma once

#include <type_traits>

#include "attention/sm90/kernel.cuh"
#include "attention/sm90/kernels.hpp"
#include "gpu/launch.cuh"

namespace seesaw::attention::sm90 {

template <typename Config>
Status launch_instance(const Params& params, const KernelLaunch& launch) {
  constexpr size_t kBytes = kSharedBytes<Config>;
  // The kernel waits for the one before it itself, after its own set-up.
  return gpu::launch_attention<attention_kernel<Config>>(
      {.name = "sm90 attention",
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

template <typename Element, int kQkColumns, bool kConverts, int kRows>
inline constexpr InstanceKey kKey = {
    .type = std::is_same_v<Element, __half> ? DType::kFloat16 : DType::kBFloat16,
    .d_qk = kQkColumns,
    .converts = kConverts,
    .rows = kRows};

template <typename Element, int kQkColumns, bool kConverts, int kRows = kTileRows>
inline constexpr Instance kInstance = {
    kKey<Element, kQkColumns, kConverts, kRows>,
    launch_instance<Config<Element, kQkColumns, kConverts, kRows>>};

}  // namespace seesaw::attention::sm90
