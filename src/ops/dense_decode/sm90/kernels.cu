// Every instance of the kernel but the traced one (trace.cu).
#include "ops/dense_decode/sm90/kernels.hpp"

#include "ops/dense_decode/sm90/instance.cuh"

namespace seesaw::dense_decode::sm90 {

AttentionKernel find_attention_kernel(DType element, int64_t d_qk) {
  struct Instance {
    DType element;
    int64_t d_qk;
    AttentionKernel launch;
  };
  static constexpr Instance kInstances[] = {
      {DType::kBFloat16, 576, launch_instance<DenseDecodeConfig<__nv_bfloat16, 576>>},
      {DType::kBFloat16, 512, launch_instance<DenseDecodeConfig<__nv_bfloat16, 512>>},
      {DType::kFloat16, 576, launch_instance<DenseDecodeConfig<__half, 576>>},
      {DType::kFloat16, 512, launch_instance<DenseDecodeConfig<__half, 512>>},
  };
  for (const Instance& instance : kInstances) {
    if (instance.element == element && instance.d_qk == d_qk) return instance.launch;
  }
  return nullptr;
}

}  // namespace seesaw::dense_decode::sm90
