// Rotary embedding: a thread finds the angle of one pair of one token, in double, and turns that
// pair of up to kHeadsOfThread heads by it.
#include "base/math.hpp"
#include "baselines/cuda/elements.cuh"
#include "baselines/cuda/kernels.hpp"
#include "gpu/launch.cuh"

namespace seesaw::baselines {
namespace {

constexpr int kThreads = 128;
constexpr int64_t kHeadsOfThread = 8;

struct RotaryParams {
  Elements x;
  Elements out;
  Elements positions;  // data null: first_position + n
  int64_t batch;
  int64_t heads;
  int64_t tokens;
  int64_t pairs;
  int64_t first_position;
  RotaryFrequencies frequencies;
};

__device__ double angle_of(const RotaryParams& p, int64_t b, int64_t n, int64_t pair) {
  const int64_t position =
      p.positions.data == nullptr
          ? p.first_position + n
          : static_cast<const int32_t*>(p.positions.data)[p.positions.offset(b, 0, n)];
  return static_cast<double>(position) * frequency_of(p.frequencies, pair, p.pairs);
}

// x: pairs of tokens of the sequence, y: groups of heads, z: sequences.
__global__ void __launch_bounds__(kThreads) rotary_kernel(const __grid_constant__ RotaryParams p) {
  const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (index >= p.tokens * p.pairs) {
    return;
  }
  const int64_t n = index / p.pairs;
  const int64_t pair = index % p.pairs;
  for (int64_t b = blockIdx.z; b < p.batch; b += gridDim.z) {
    double sine;
    double cosine;
    sincos(angle_of(p, b, n, pair), &sine, &cosine);
    sine *= p.frequencies.amplitude;
    cosine *= p.frequencies.amplitude;
    const int64_t groups = ceil_div(p.heads, kHeadsOfThread);
    for (int64_t group = blockIdx.y; group < groups; group += gridDim.y) {
      const int64_t head_end = min(p.heads, (group + 1) * kHeadsOfThread);
      for (int64_t h = group * kHeadsOfThread; h < head_end; ++h) {
        const int64_t from = p.x.offset(b, h, n) + 2 * pair;
        const int64_t to = p.out.offset(b, h, n) + 2 * pair;
        const double first = p.x.load(from);
        const double second = p.x.load(from + 1);
        p.out.store(to, static_cast<float>(first * cosine - second * sine));
        p.out.store(to + 1, static_cast<float>(first * sine + second * cosine));
      }
    }
  }
}

}  // namespace

cudaError_t launch_rotary(const Rotary& step, cudaStream_t stream) {
  const Dims& shape = step.x.shape;
  const RotaryParams params = {
      .x = elements_of(step.x),
      .out = elements_of(step.out),
      .positions = elements_of(step.positions),
      .batch = shape[0],
      .heads = shape[1],
      .tokens = shape[2],
      .pairs = shape[3] / 2,
      .first_position = step.first_position,
      .frequencies = step.frequencies,
  };
  const dim3 grid(grid_dim_x(ceil_div(params.tokens * params.pairs, int64_t{kThreads})),
                  grid_dim(ceil_div(params.heads, kHeadsOfThread)), grid_dim(params.batch));
  return gpu::launch_kernel(rotary_kernel, {.grid = grid, .block = kThreads, .stream = stream},
                            params);
}

}  // namespace seesaw::baselines
