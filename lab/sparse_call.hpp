// One call of sparse decoding or sparse prefill on a device: as call.hpp has those of dense
// decoding.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "lab/device/tensors.hpp"
#include "lab/elements.hpp"
#include "seesaw/ops/sparse_decode.h"
#include "seesaw/ops/sparse_prefill.h"

namespace seesaw::lab {

inline std::vector<seesaw_tensor*> inputs_of(seesaw_sparse_decode_args* args) {
  return {&args->q,        &args->kv_cache,       &args->indices,       &args->topk_length,
          &args->sinks,    &args->extra_kv_cache, &args->extra_indices, &args->extra_topk_length,
          &args->kv_scale, &args->extra_kv_scale};
}
inline std::vector<seesaw_tensor*> inputs_of(seesaw_sparse_prefill_args* args) {
  return {&args->q, &args->kv, &args->indices, &args->topk_length, &args->sinks, &args->kv_scale};
}

template <typename Operation>
class SparseCall {
 public:
  // `plan` was made for a problem of these inputs with values of d_v columns; it and the inputs, if
  // they are in the device's memory, must outlive this. Results and workspace start as NaN.
  SparseCall(Device& device, const PlanOf<Operation>& plan, int64_t d_v,
             const typename Operation::Args& inputs)
      : device_(device), plan_(plan), args_(inputs) {
    for (seesaw_tensor* tensor : inputs_of(&args_)) {
      if (tensor->data != nullptr) {
        brought_.bring(device, tensor);
      }
    }
    const seesaw_tensor& q = args_.q;
    const auto dtype = static_cast<seesaw_dtype>(q.dtype);
    if (q.rank == 4) {  // [b, s_q, h_q, :]
      args_.out = make_tensor(nullptr, dtype, {q.shape[0], q.shape[1], q.shape[2], d_v});
      args_.lse = make_tensor(nullptr, SEESAW_FLOAT32, {q.shape[0], q.shape[2], q.shape[1]});
    } else {  // [n, h_q, :]
      args_.out = make_tensor(nullptr, dtype, {q.shape[0], q.shape[1], d_v});
      args_.lse = make_tensor(nullptr, SEESAW_FLOAT32, {q.shape[0], q.shape[1]});
    }
    args_.max_logits = args_.lse;
    out_ = output(&args_.out);
    lse_ = output(&args_.lse);
    max_logits_ = output(&args_.max_logits);
    schedule_ = DeviceBuffer(device, plan.schedule_bytes());
    workspace_ = poisoned(device, plan.workspace_bytes());
    call_.schedule = schedule_.data();
    call_.schedule_bytes = schedule_.size_bytes();
    call_.workspace = workspace_.data();
    call_.workspace_bytes = workspace_.size_bytes();
    call_.stream = device.stream();
  }

  void prepare() { plan_.prepare(args_, call_); }
  void run() { plan_.run(args_, call_); }  // prepared before

  // Packed: out [.., h_q, d_v] in the dtype of q; of decoding, the others are [b, h_q, s_q].
  std::vector<std::byte> out() { return on_host<std::byte>(device_, out_); }
  std::vector<float> lse() { return on_host<float>(device_, lse_); }
  std::vector<float> max_logits() { return on_host<float>(device_, max_logits_); }

 private:
  DeviceBuffer output(seesaw_tensor* tensor) {
    DeviceBuffer buffer = poisoned(device_, packed_bytes(*tensor));
    tensor->data = buffer.data();
    tensor->device = device_.id();
    return buffer;
  }

  Device& device_;
  const PlanOf<Operation>& plan_;
  typename Operation::Args args_;
  BroughtTensors brought_;
  DeviceBuffer out_;
  DeviceBuffer lse_;
  DeviceBuffer max_logits_;
  DeviceBuffer schedule_;
  DeviceBuffer workspace_;
  seesaw_call call_;
};

}  // namespace seesaw::lab
