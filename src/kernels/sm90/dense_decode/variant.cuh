// Launch of one compiled variant.
#pragma once

#include "kernels/sm90/dense_decode/kernel.cuh"

namespace seesaw::sm90 {

template <typename Config>
cudaError_t launch_variant(const DenseDecodeParams& params, uint32_t blocks, cudaStream_t stream) {
  const auto kernel = dense_decode_kernel<Config>;
  constexpr int kBytes = sizeof(SharedStorage<Config>);
  const cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (error != cudaSuccess) return error;
  cudaLaunchConfig_t launch{};
  launch.gridDim = dim3(blocks);
  launch.blockDim = dim3(kThreads);
  launch.dynamicSmemBytes = kBytes;
  launch.stream = stream;
  return cudaLaunchKernelEx(&launch, kernel, params);
}

template <typename Element>
cudaError_t launch_element(const DenseDecodeParams& params, int d_qk, uint32_t blocks,
                           cudaStream_t stream) {
  return d_qk == 576 ? launch_variant<DenseDecodeConfig<Element, 576>>(params, blocks, stream)
                     : launch_variant<DenseDecodeConfig<Element, 512>>(params, blocks, stream);
}

}  // namespace seesaw::sm90
