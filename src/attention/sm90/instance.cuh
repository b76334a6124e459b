// How an instance of the kernel is launched.
#pragma once

#include <type_traits>

#include "attention/sm90/kernel.cuh"
#include "attention/sm90/kernels.hpp"
#include "gpu/launch.cuh"

namespace seesaw::attention::sm90 {

template <typename Config>
Status launch_instance(const Params& params, const KernelLaunch& launch) {
  static gpu::KernelSetup setup(reinterpret_cast<const void*>(&attention_kernel<Config>),
                                {.name = "sm90 attention",
                                 .dynamic_shared_bytes = static_cast<int>(kSharedBytes<Config>),
                                 .registers = kLaunchRegisters});
  SEESAW_RETURN_IF_ERROR(setup.prepare(launch.device));
  // The kernel waits for the one before it itself, after its own set-up.
  const gpu::LaunchShape shape = {.grid = launch.grid,
                                  .block = dim3(kThreads),
                                  .shared_bytes = kSharedBytes<Config>,
                                  .stream = launch.stream,
                                  .edge = gpu::Edge::kProgrammatic};
  return gpu::status_of(gpu::launch_kernel(attention_kernel<Config>, shape, params),
                        "attention (sm90)", "launching the attention kernel");
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
