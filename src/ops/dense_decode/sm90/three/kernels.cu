// Every instance of the kernel, and how one is launched.
#include "ops/dense_decode/sm90/three/kernels.hpp"

#include "gpu/launch.cuh"
#include "ops/dense_decode/sm90/three/kernel.cuh"

namespace seesaw::dense_decode::sm90::three {
namespace {

template <typename Config>
Status launch_instance(const DenseDecodeParams& params, const AttentionLaunch& launch) {
  constexpr size_t kBytes = sizeof(SharedStorage);
  static gpu::KernelSetup setup(reinterpret_cast<const void*>(&dense_decode_three_kernel<Config>),
                                {.name = "sm90.dense_decode.three",
                                 .dynamic_shared_bytes = static_cast<int>(kBytes),
                                 .registers = kLaunchRegisters});
  SEESAW_RETURN_IF_ERROR(setup.prepare(launch.device));
  // The kernel waits for the one before it itself, after its own set-up.
  const gpu::LaunchShape shape = {.grid = launch.grid,
                                  .block = dim3(kThreads),
                                  .shared_bytes = kBytes,
                                  .stream = launch.stream,
                                  .edge = gpu::Edge::kProgrammatic};
  return gpu::status_of(gpu::launch_kernel(dense_decode_three_kernel<Config>, shape, params),
                        "dense_decode (sm90)", "launching the attention kernel");
}

}  // namespace

AttentionKernel find_attention_kernel(DType element, int64_t d_qk) {
  if (element == DType::kBFloat16) {
    return {d_qk == 576 ? launch_instance<DenseDecodeConfig<__nv_bfloat16, 576>>
                        : launch_instance<DenseDecodeConfig<__nv_bfloat16, 512>>,
            kHalfBoxes};
  }
  return {d_qk == 576 ? launch_instance<DenseDecodeConfig<__half, 576>>
                      : launch_instance<DenseDecodeConfig<__half, 512>>,
          kHalfBoxes};
}

}  // namespace seesaw::dense_decode::sm90::three
