// Every instance of the kernel but the traced one (trace.cu).
#include "ops/dense_decode/sm90/kernels.hpp"

#include "ops/dense_decode/sm90/instance.cuh"

namespace seesaw::dense_decode::sm90 {

AttentionKernel find_attention_kernel(DType element, int64_t d_qk) {
  if (element == DType::kBFloat16) {
    return {d_qk == 576 ? launch_instance<DenseDecodeConfig<__nv_bfloat16, 576>>
                        : launch_instance<DenseDecodeConfig<__nv_bfloat16, 512>>};
  }
  return {d_qk == 576 ? launch_instance<DenseDecodeConfig<__half, 576>>
                      : launch_instance<DenseDecodeConfig<__half, 512>>};
}

}  // namespace seesaw::dense_decode::sm90
