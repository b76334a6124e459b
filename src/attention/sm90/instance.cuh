// How an instance of the kernel is launched.
#pragma once

#include <type_traits>

#include "attention/sm90/kernel.cuh"
#include "attention/sm90/kernels.hpp"
#include "attention/sm90/ring_kernel.cuh"
#include "gpu/sm90/launch.cuh"

namespace seesaw::attention::sm90 {

template <typename Config>
Status launch_instance(const Params& params, const KernelLaunch& launch) {
  return gpu::sm90::launch_roles<attention_kernel<Config>>({.name = "sm90 attention",
                                                            .shared_bytes = kSharedBytes<Config>,
                                                            .threads = kThreads,
                                                            .registers = kLaunchRegisters},
                                                           launch, params);
}

// Its warps keep the registers that the launch gives them.
template <typename Config>
Status launch_ring_instance(const RingParams& params, const KernelLaunch& launch) {
  return gpu::sm90::launch_roles<ring_attention_kernel<Config>>(
      {.name = "sm90 attention with a ring",
       .shared_bytes = kSharedBytes<Config>,
       .threads = Config::kThreads,
       .registers = 0},
      launch, params);
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

template <typename Element, int kQkColumns>
inline constexpr RingInstance kRingInstance = {
    kKey<Element, kQkColumns, false, kSwappedRows>,
    launch_ring_instance<RingConfig<Element, kQkColumns>>};

}  // namespace seesaw::attention::sm90
