// Every instance of the kernel.
#include "ops/dense_decode/sm90/three/instance.cuh"
#include "ops/dense_decode/sm90/three/kernels.hpp"

namespace seesaw::dense_decode::sm90::three {

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
