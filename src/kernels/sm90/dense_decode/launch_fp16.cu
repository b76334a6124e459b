#include "kernels/sm90/dense_decode/variant.cuh"
#include "kernels/sm90/dense_decode/variants.hpp"

namespace seesaw::sm90 {

cudaError_t launch_fp16(const DenseDecodeParams& params, int d_qk, dim3 grid, cudaStream_t stream) {
  return launch_element<__half>(params, d_qk, grid, stream);
}

}  // namespace seesaw::sm90
