// Launch of one compiled variant.
#pragma once

#include "ops/dense_decode/sm90/kernel.cuh"

namespace seesaw::dense_decode::sm90 {

template <typename Config>
cudaError_t launch_variant(const DenseDecodeParams& params, dim3 grid, cudaStream_t stream) {
  const auto kernel = dense_decode_kernel<Config>;
  constexpr int kBytes = sizeof(SharedStorage<Config>);
  const cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (error != cudaSuccess) return error;
  cudaLaunchConfig_t launch{};
  launch.gridDim = grid;
  launch.blockDim = dim3(kThreads);
  launch.dynamicSmemBytes = kBytes;
  launch.stream = stream;
  // The kernel waits for the one before it itself, after its own set-up.
  cudaLaunchAttribute overlap{};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  launch.attrs = &overlap;
  launch.numAttrs = 1;
  return cudaLaunchKernelEx(&launch, kernel, params);
}

template <typename Element>
cudaError_t launch_element(const DenseDecodeParams& params, int d_qk, dim3 grid,
                           cudaStream_t stream) {
  return d_qk == 576 ? launch_variant<DenseDecodeConfig<Element, 576>>(params, grid, stream)
                     : launch_variant<DenseDecodeConfig<Element, 512>>(params, grid, stream);
}

}  // namespace seesaw::dense_decode::sm90
