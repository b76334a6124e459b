// Softmax of rows, a block a row:
//   [1] the largest visible scaled score
//   [2] the sum of e^(score - largest)
//   [3] write e^(score - largest) / sum, and 0 where a score is hidden
// A row is read three times, but after the first from a cache. The three steps, rather than the
// online form that needs two, keep -inf and NaN simple: a NaN gets into the sum and from there into
// the whole row, and of a row with nothing visible nothing but zeros is written.
#include "baselines/cuda/block_reduce.cuh"
#include "baselines/cuda/elements.cuh"
#include "baselines/cuda/kernels.hpp"
#include "kernels/cuda/launch.cuh"

namespace seesaw::baselines {
namespace {

constexpr int kMaxThreads = 512;
constexpr int kElementsOfThread = 8;

struct SoftmaxParams {
  Elements scores;
  Elements mask;  // data null: none
  Elements probabilities;
  int64_t heads;
  int64_t queries;
  int64_t keys;
  int64_t num_rows;
  int64_t first_position;
  float scale;
  Visible visible;
};

// One row's place in memory and what of it is visible.
struct Row {
  const float* scores;
  const uint8_t* mask;
  int64_t mask_stride;
  int64_t visible_end;  // entries [0, visible_end) may be visible, if the mask lets them
  float scale;

  __device__ Row(const SoftmaxParams& p, int64_t b, int64_t h, int64_t n)
      : scores(static_cast<const float*>(p.scores.data) + p.scores.offset(b, h, n)),
        mask(p.mask.data == nullptr
                 ? nullptr
                 : static_cast<const uint8_t*>(p.mask.data) + p.mask.offset(b, h, n)),
        mask_stride(p.mask.stride[3]),
        visible_end(p.visible == Visible::kCausal ? min(p.keys, p.first_position + n + 1) : p.keys),
        scale(p.scale) {}

  __device__ bool visible(int64_t s) const {
    return s < visible_end && (mask == nullptr || mask[s * mask_stride] != 0);
  }
  __device__ float score(int64_t s) const { return scale * scores[s]; }
};

__device__ void softmax_row(const SoftmaxParams& p, const Row& row, int64_t out) {
  float largest = Maximum::kNeutral;
  for (int64_t s = threadIdx.x; s < row.visible_end; s += blockDim.x) {  // [1]
    largest = row.visible(s) ? fmaxf(largest, row.score(s)) : largest;
  }
  largest = reduce_block<Maximum>(largest);
  float sum = 0.0F;
  for (int64_t s = threadIdx.x; s < row.visible_end; s += blockDim.x) {  // [2]
    sum += row.visible(s) ? expf(row.score(s) - largest) : 0.0F;
  }
  const float share = 1.0F / reduce_block<Sum>(sum);
  for (int64_t s = threadIdx.x; s < p.keys; s += blockDim.x) {  // [3]
    const float value = row.visible(s) ? expf(row.score(s) - largest) * share : 0.0F;
    p.probabilities.store(out + s, value);
  }
}

__global__ void __launch_bounds__(kMaxThreads)
    softmax_kernel(const __grid_constant__ SoftmaxParams p) {
  for (int64_t i = blockIdx.x; i < p.num_rows; i += gridDim.x) {
    const int64_t n = i % p.queries;
    const int64_t h = i / p.queries % p.heads;
    const int64_t b = i / p.queries / p.heads;
    softmax_row(p, Row(p, b, h, n), p.probabilities.offset(b, h, n));
  }
}

unsigned threads_for(int64_t keys) {
  unsigned threads = 32;
  while (threads < kMaxThreads && threads * kElementsOfThread < keys) {
    threads *= 2;
  }
  return threads;
}

}  // namespace

cudaError_t launch_softmax(const Softmax& step, cudaStream_t stream) {
  const Dims& shape = step.scores.shape;
  const SoftmaxParams params = {
      .scores = elements_of(step.scores),
      .mask = elements_of(step.mask),
      .probabilities = elements_of(step.probabilities),
      .heads = shape[1],
      .queries = shape[2],
      .keys = shape[3],
      .num_rows = shape[0] * shape[1] * shape[2],
      .first_position = step.first_position,
      .scale = step.scale,
      .visible = step.visible,
  };
  return cuda::launch_kernel(
      softmax_kernel,
      {.grid = grid_dim_x(params.num_rows), .block = threads_for(shape[3]), .stream = stream},
      params);
}

cudaError_t kernels_are_loadable() {
  cudaFuncAttributes attributes;
  return cudaFuncGetAttributes(&attributes, softmax_kernel);
}

}  // namespace seesaw::baselines
