// Combines the partial results of split sequences (partials.hpp) into out and lse.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "base/status.hpp"
#include "core/tensor.hpp"
#include "gpu/edge.hpp"
#include "gpu/partials.hpp"
#include "split/split_kv.hpp"

namespace seesaw::gpu {

struct CombineCall {
  split::SplitConfig split;
  const void* schedule = nullptr;  // built for `split`
  int32_t batch = 0;               // items of the call: sequences, or query tokens of sequences
  int32_t items_per_sequence = 1;  // then so many a sequence
  const int32_t* query_begin = nullptr;  // [batch + 1]: items have query tokens of their own
                                         // number, from here on; then the sequences' strides are 0
  PartialLayout partials;
  const void* workspace = nullptr;     // where the partials' layout starts
  int64_t group = 1;                   // query heads of a KV head
  int64_t rows = 0;                    // query rows of a KV head: query tokens x group
  DType out_dtype = DType::kBFloat16;  // or float16
  void* out = nullptr;                 // [b, s_q, h_q, d_v]
  int64_t out_stride[3] = {};          // elements
  float* lse = nullptr;                // [b, h_q, s_q], or null
  int64_t lse_stride[3] = {};
  float lse_factor = 1.0F;      // of the logarithm to base 2
  float empty_lse = 0.0F;       // of a row with nothing to attend
  float* max_logits = nullptr;  // [b, h_q, s_q], or null
  int64_t max_logits_stride[3] = {};
  const float* sinks = nullptr;  // [h_q], or null
  int32_t num_sms = 1;
  Edge edge = Edge::kProgrammatic;
  cudaStream_t stream = nullptr;
};

// Launches the combine on call.stream of the current device, behind the attention kernel. With a
// programmatic edge its blocks read the schedule while attention still runs, and wait for it before
// they read partials. Only split sequences are touched; if no schedule of the plan can split
// any, nothing is launched. Any d_v. Asynchronous, checked, deterministic: a sequence's sums are
// formed in an order that depends on its own number of pieces alone.
Status launch_combine(const CombineCall& call);

}  // namespace seesaw::gpu
