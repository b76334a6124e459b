// What happens to a schedule that the plan did not make: nothing of it is followed.
#pragma once

#include "attention/device/work.cuh"

namespace seesaw::attention::device {

// Reports it, and fills the outputs with NaN: the threads of the grid share out the rows.
template <typename Config>
__device__ __forceinline__ void refuse_schedule(const Params& params) {
  const auto group = static_cast<int32_t>(params.group.value);
  const int32_t heads = group * params.h_kv;
  const int64_t block = blockIdx.x + int64_t{gridDim.x} * (blockIdx.y + gridDim.y * blockIdx.z);
  const int64_t blocks = int64_t{gridDim.x} * gridDim.y * gridDim.z;
  for (int64_t row = block; row < int64_t{params.items} * params.s_q * heads; row += blocks) {
    const auto head = static_cast<int32_t>(row % heads);
    const auto query_token = static_cast<int32_t>(row / heads % params.s_q);
    const Item item = read_item<Config>(params, static_cast<int32_t>(row / heads / params.s_q));
    if (query_token >= item.num_queries) continue;
    const int64_t token = item.token_of_sequence + query_token;
    uint16_t* out = static_cast<uint16_t*>(params.out) +
                    item.sequence * params.out_stride_sequence + token * params.out_stride_token +
                    head * params.out_stride_head;
    for (int column = static_cast<int>(threadIdx.x); column < params.d_v;
         column += Config::kThreads) {
      out[column] = kNaNBits;
    }
    if (threadIdx.x != 0) continue;
    if (params.lse != nullptr) {
      params.lse[item.sequence * params.lse_stride_sequence + token * params.lse_stride_token +
                 head * params.lse_stride_head] = NAN;
    }
    if (params.max_logits != nullptr) {
      params.max_logits[item.sequence * params.max_logits_stride_sequence +
                        token * params.max_logits_stride_token +
                        head * params.max_logits_stride_head] = NAN;
    }
  }
  if (threadIdx.x == 0 && block == 0) *params.fault = gpu::Fault::kForeignSchedule;
}

}  // namespace seesaw::attention::device
