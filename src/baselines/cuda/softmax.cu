// Softmax of rows, a block a row, or a warp a short one:
//   [1] the largest visible scaled score
//   [2] the sum of 2^(score - largest), the scale holding the change of base
//   [3] write 2^(score - largest) / sum, and 0 where a score is hidden
// A row is read three times, but after the first from a cache. The three steps, rather than the
// online form that needs two, keep -inf and NaN simple: a NaN gets into the sum and from there into
// the whole row, and of a row with nothing visible nothing but zeros is written.
#include "base/math.hpp"
#include "baselines/cuda/block_reduce.cuh"
#include "baselines/cuda/elements.cuh"
#include "baselines/cuda/kernels.hpp"
#include "gpu/launch.cuh"

namespace seesaw::baselines {
namespace {

constexpr unsigned kMaxThreads = 256;
constexpr unsigned kBlocksPerSm = 6;  // at most 42 registers a thread: with 7 blocks, some spill
constexpr unsigned kRowsOfWarps = 4;  // in a block, if a warp has enough threads for a row
constexpr float kLog2E = 1.4426950408889634F;

struct SoftmaxParams {
  Elements scores;
  Elements mask;  // data null: none
  Elements probabilities;
  int64_t heads;
  int64_t queries;
  int64_t keys;
  int64_t num_rows;
  int64_t first_position;
  float scale_log2;
  Visible visible;
};

// Four scaled scores, and which of them are visible.
struct Four {
  float score[4];
  bool seen[4];
};

// One row's place in memory and what of it is visible.
struct Row {
  const SoftmaxParams& p;
  int64_t scores;
  const uint8_t* mask;
  int64_t visible_end;  // entries [0, visible_end) may be visible, if the mask lets them

  __device__ Row(const SoftmaxParams& params, int64_t b, int64_t h, int64_t n)
      : p(params),
        scores(p.scores.offset(b, h, n)),
        mask(p.mask.data == nullptr
                 ? nullptr
                 : static_cast<const uint8_t*>(p.mask.data) + p.mask.offset(b, h, n)),
        visible_end(p.visible == Visible::kCausal ? min(p.keys, p.first_position + n + 1)
                                                  : p.keys) {}

  // Entries [s, s + 4), of which s is in the row.
  __device__ Four load(int64_t s) const {
    const float4 raw = p.scores.load4(scores + s, p.keys - s);
    Four four = {{raw.x, raw.y, raw.z, raw.w}, {}};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      four.score[i] *= p.scale_log2;
      four.seen[i] =
          s + i < visible_end && (mask == nullptr || mask[(s + i) * p.mask.stride[3]] != 0);
    }
    return four;
  }
};

__device__ void softmax_row(const SoftmaxParams& p, const Row& row, int64_t out) {
  const int64_t first = int64_t{threadIdx.x} * 4;
  const int64_t step = int64_t{blockDim.x} * 4;
  float largest = Maximum::kNeutral;
  for (int64_t s = first; s < row.visible_end; s += step) {  // [1]
    const Four four = row.load(s);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      largest = four.seen[i] ? fmaxf(largest, four.score[i]) : largest;
    }
  }
  largest = reduce_block<Maximum>(largest);
  float sum = 0.0F;
  for (int64_t s = first; s < row.visible_end; s += step) {  // [2]
    const Four four = row.load(s);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      sum += four.seen[i] ? exp2f(four.score[i] - largest) : 0.0F;
    }
  }
  const float share = 1.0F / reduce_block<Sum>(sum);
  for (int64_t s = first; s < p.keys; s += step) {  // [3]
    Four four = {};
    if (s < row.visible_end) {
      four = row.load(s);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      four.score[i] = four.seen[i] ? exp2f(four.score[i] - largest) * share : 0.0F;
    }
    p.probabilities.store4(out + s, p.keys - s,
                           {four.score[0], four.score[1], four.score[2], four.score[3]});
  }
}

__global__ void __launch_bounds__(kMaxThreads, kBlocksPerSm)
    softmax_kernel(const __grid_constant__ SoftmaxParams p) {
  const int64_t step = int64_t{gridDim.x} * blockDim.y;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.y + threadIdx.y; i < p.num_rows; i += step) {
    const int64_t n = i % p.queries;
    const int64_t h = i / p.queries % p.heads;
    const int64_t b = i / p.queries / p.heads;
    softmax_row(p, Row(p, b, h, n), p.probabilities.offset(b, h, n));
  }
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
      .scale_log2 = step.scale * kLog2E,
      .visible = step.visible,
  };
  const unsigned threads = threads_for_row(shape[3], kMaxThreads);
  const unsigned rows = threads == 32 ? kRowsOfWarps : 1;
  return gpu::launch_kernel(softmax_kernel,
                            {.grid = grid_dim_x(ceil_div(params.num_rows, int64_t{rows})),
                             .block = dim3(threads, rows),
                             .stream = stream},
                            params);
}

cudaError_t kernels_are_loadable() {
  cudaFuncAttributes attributes;
  return cudaFuncGetAttributes(&attributes, softmax_kernel);
}

}  // namespace seesaw::baselines
