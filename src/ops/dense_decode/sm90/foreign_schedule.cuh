// What happens to a schedule that the plan did not make: nothing of it is followed.
#pragma once

#include "ops/dense_decode/sm90/config.hpp"

namespace seesaw::dense_decode::sm90 {

// Reports it, and fills the outputs with NaN: the threads of the grid share out the rows. Inlined,
// as a call would make the kernel spill registers (notebook 0074).
__device__ __forceinline__ void refuse_schedule(const DenseDecodeParams& params) {
  const auto group = static_cast<int32_t>(params.group.value);
  const int32_t heads = group * params.h_kv;
  const int64_t rows = int64_t{params.batch} * params.s_q * heads;
  const int64_t block = blockIdx.x + int64_t{gridDim.x} * (blockIdx.y + gridDim.y * blockIdx.z);
  const int64_t blocks = int64_t{gridDim.x} * gridDim.y * gridDim.z;
  for (int64_t row = block; row < rows; row += blocks) {
    const int64_t head = row % heads;
    const int64_t token = row / heads % params.s_q;
    const int64_t sequence = row / heads / params.s_q;
    uint16_t* out = static_cast<uint16_t*>(params.out) + sequence * params.out_stride_batch +
                    token * params.out_stride_token + head * params.out_stride_head;
    for (int column = static_cast<int>(threadIdx.x); column < kValueColumns; column += kThreads) {
      out[column] = kNaNBits;
    }
    if (threadIdx.x == 0 && params.lse != nullptr) {
      params.lse[sequence * params.lse_stride_batch + head * params.lse_stride_head +
                 token * params.lse_stride_token] = NAN;
    }
  }
  if (threadIdx.x == 0 && block == 0) *params.fault = gpu::Fault::kForeignSchedule;
}

}  // namespace seesaw::dense_decode::sm90
