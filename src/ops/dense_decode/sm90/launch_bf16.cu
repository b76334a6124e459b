#include "ops/dense_decode/sm90/variant.cuh"
#include "ops/dense_decode/sm90/variants.hpp"

namespace seesaw::dense_decode::sm90 {

cudaError_t launch_bf16(const DenseDecodeParams& params, int d_qk, dim3 grid, cudaStream_t stream) {
  return launch_element<__nv_bfloat16>(params, d_qk, grid, stream);
}

}  // namespace seesaw::dense_decode::sm90
