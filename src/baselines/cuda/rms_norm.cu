// RMS norm of rows, a block a row.
#include "baselines/cuda/block_reduce.cuh"
#include "baselines/cuda/elements.cuh"
#include "baselines/cuda/kernels.hpp"
#include "gpu/launch.cuh"

namespace seesaw::baselines {
namespace {

constexpr unsigned kMaxThreads = 256;

struct RmsNormParams {
  Elements x;
  Elements weight;
  Elements out;
  int64_t shape[4];
  float epsilon;
};

__global__ void __launch_bounds__(kMaxThreads)
    rms_norm_kernel(const __grid_constant__ RmsNormParams p) {
  const int64_t width = p.shape[3];
  const int64_t first = int64_t{threadIdx.x} * 4;
  const int64_t step = int64_t{blockDim.x} * 4;
  const int64_t num_rows = p.shape[0] * p.shape[1] * p.shape[2];
  for (int64_t i = blockIdx.x; i < num_rows; i += gridDim.x) {
    const int64_t k = i % p.shape[2];
    const int64_t j = i / p.shape[2] % p.shape[1];
    const int64_t b = i / p.shape[2] / p.shape[1];
    const int64_t x = p.x.offset(b, j, k);
    const int64_t out = p.out.offset(b, j, k);
    float squares = 0.0F;
    for (int64_t c = first; c < width; c += step) {
      const float4 four = p.x.load4(x + c, width - c);  // 0 beyond the row
      squares += four.x * four.x + four.y * four.y + four.z * four.z + four.w * four.w;
    }
    squares = reduce_block<Sum>(squares);
    const float factor = 1.0F / sqrtf(squares / static_cast<float>(width) + p.epsilon);
    for (int64_t c = first; c < width; c += step) {
      const float4 four = p.x.load4(x + c, width - c);
      const float4 weight = p.weight.load4(c, width - c);
      p.out.store4(out + c, width - c,
                   {four.x * factor * weight.x, four.y * factor * weight.y,
                    four.z * factor * weight.z, four.w * factor * weight.w});
    }
  }
}

}  // namespace

cudaError_t launch_rms_norm(const RmsNorm& step, cudaStream_t stream) {
  const Dims& shape = step.x.shape;
  const RmsNormParams params = {
      .x = elements_of(step.x),
      .weight = elements_of(step.weight),
      .out = elements_of(step.out),
      .shape = {shape[0], shape[1], shape[2], shape[3]},
      .epsilon = step.epsilon,
  };
  return gpu::launch_kernel(rms_norm_kernel,
                            {.grid = grid_dim_x(shape[0] * shape[1] * shape[2]),
                             .block = threads_for_row(shape[3], kMaxThreads),
                             .stream = stream},
                            params);
}

}  // namespace seesaw::baselines
