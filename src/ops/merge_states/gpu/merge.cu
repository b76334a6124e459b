// A warp a row. The numbers are those of ../README.md.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "gpu/launch.cuh"
#include "ops/merge_states/gpu/merge.hpp"

namespace seesaw::merge_states::gpu {
namespace {

constexpr int kWarps = 8;  // of a block
constexpr int kThreads = 32 * kWarps;
constexpr float kNotRead = -1.0F;  // the weight of a part that attended nothing

// kCount neighbouring elements of a row, read and written at once.
template <typename T, int kCount>
struct alignas(sizeof(T) * kCount) Unit {
  T element[kCount];
};

// A row of the output: which token of which sequence, and which head.
struct Place {
  int32_t sequence;
  int32_t token;
  int32_t head;

  __device__ int64_t offset_in(const Rows& rows) const {
    return sequence * rows.stride[0] + token * rows.stride[1] + head * rows.stride[2];
  }
};

__device__ Place place_of(const MergeParams& p, int32_t row) {
  const int32_t token = row / p.h;
  return {token / p.s, token % p.s, row - token * p.h};
}

__device__ float warp_max(float value) {
  for (int step = 16; step > 0; step /= 2) {
    value = fmaxf(value, __shfl_xor_sync(~0U, value, step));
  }
  return value;
}

__device__ float warp_sum(float value) {  // the same bits in every lane
  for (int step = 16; step > 0; step /= 2) {
    value += __shfl_xor_sync(~0U, value, step);
  }
  return value;
}

// What the parts of a row add up to.
struct Totals {
  float largest;  // base 2
  float sum;
};

// [1][2] a lane a part, in two rounds at most.
__device__ Totals weigh(const MergeParams& p, const Place& row, int lane, float* weights) {
  constexpr int kRounds = kMostParts / 32;
  float lses[kRounds];
  float largest = -INFINITY;
  bool poisoned = false;
#pragma unroll
  for (int round = 0; round < kRounds; ++round) {
    const int part = round * 32 + lane;
    lses[round] = -INFINITY;
    if (part < p.num_parts) {
      const Rows& lse = p.lses[part];
      lses[round] = static_cast<const float*>(lse.data)[row.offset_in(lse)] * p.log2_per_unit;
    }
    poisoned = poisoned || isnan(lses[round]);
    largest = isfinite(lses[round]) ? fmaxf(largest, lses[round]) : largest;
  }
  largest = warp_max(largest);
  float sum = 0.0F;
#pragma unroll
  for (int round = 0; round < kRounds; ++round) {
    const float weight = isfinite(lses[round]) ? exp2f(lses[round] - largest) : kNotRead;
    weights[round * 32 + lane] = weight;
    sum += fmaxf(weight, 0.0F);
  }
  sum = warp_sum(sum);
  return {largest, __any_sync(~0U, poisoned) ? NAN : sum};
}

template <typename T, int kCount>
__global__ void __launch_bounds__(kThreads) merge_kernel(const __grid_constant__ MergeParams p) {
  using Element = Unit<T, kCount>;
  __shared__ float weights_of_warp[kWarps][kMostParts];
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int64_t index = int64_t{blockIdx.x} * kWarps + warp;
  if (index >= p.num_rows) {
    return;
  }
  const Place row = place_of(p, static_cast<int32_t>(index));
  float* weights = weights_of_warp[warp];
  const Totals totals = weigh(p, row, lane, weights);
  __syncwarp();  // weights are there; every LSE is read, so that the merged one may replace it
  const float inverse = totals.sum == 0.0F ? 0.0F : 1.0F / totals.sum;
  T* const out = static_cast<T*>(p.out.data) + row.offset_in(p.out);
  for (int column = lane * kCount; column < p.d_v; column += 32 * kCount) {  // [3]
    float sums[kCount] = {};
#pragma unroll 4
    for (int part = 0; part < p.num_parts; ++part) {
      const float weight = weights[part];
      if (weight == kNotRead) {
        continue;
      }
      const Rows& rows = p.outs[part];
      const T* from = static_cast<const T*>(rows.data) + row.offset_in(rows) + column;
      const Element values = *reinterpret_cast<const Element*>(from);
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        sums[i] += weight * static_cast<float>(values.element[i]);
      }
    }
    Element merged;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      merged.element[i] = static_cast<T>(sums[i] * inverse);
    }
    *reinterpret_cast<Element*>(out + column) = merged;
  }
  if (lane == 0 && p.lse.data != nullptr) {  // [4]
    const float merged = (totals.largest + log2f(totals.sum)) / p.log2_per_unit;
    static_cast<float*>(p.lse.data)[row.offset_in(p.lse)] =
        totals.sum == 0.0F ? p.empty_lse : merged;
  }
}

template <typename T>
cudaError_t launch(const MergeParams& params, Access access, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>((params.num_rows + kWarps - 1) / kWarps);
  const seesaw::gpu::LaunchShape shape = {
      .grid = dim3(blocks), .block = dim3(kThreads), .stream = stream};
  constexpr int kUnitElements = 16 / sizeof(T);
  return access == Access::kUnits
             ? seesaw::gpu::launch_kernel(merge_kernel<T, kUnitElements>, shape, params)
             : seesaw::gpu::launch_kernel(merge_kernel<T, 1>, shape, params);
}

}  // namespace

cudaError_t launch_merge(const MergeParams& params, DType dtype, Access access,
                         cudaStream_t stream) {
  switch (dtype) {
    case DType::kBFloat16:
      return launch<__nv_bfloat16>(params, access, stream);
    case DType::kFloat16:
      return launch<__half>(params, access, stream);
    default:
      return launch<float>(params, access, stream);
  }
}

}  // namespace seesaw::merge_states::gpu
