#include "lab/call.hpp"

#include "lab/elements.hpp"
#include "seesaw/seesaw.hpp"

namespace seesaw::lab {

seesaw_tensor out_of(const seesaw_tensor& q, int64_t d_v) {
  const auto dtype = static_cast<seesaw_dtype>(q.dtype);
  return q.rank == 3 ? make_tensor(nullptr, dtype, {q.shape[0], q.shape[1], d_v})
                     : make_tensor(nullptr, dtype, {q.shape[0], q.shape[1], q.shape[2], d_v});
}

seesaw_tensor lse_of(const seesaw_tensor& q) {
  return q.rank == 3 ? make_tensor(nullptr, SEESAW_FLOAT32, {q.shape[1], q.shape[0]})
                     : make_tensor(nullptr, SEESAW_FLOAT32, {q.shape[0], q.shape[2], q.shape[1]});
}

DeviceInputs::DeviceInputs(Device& device, const seesaw_dense_decode_args& args) : args_(args) {
  for (seesaw_tensor* tensor :
       {&args_.q, &args_.kv_cache, &args_.block_table, &args_.seq_lens, &args_.kv_scale,
        &args_.tree_mask, &args_.sinks, &args_.cu_seqlens_q}) {
    if (tensor->data != nullptr) {
      brought_.bring(device, tensor);
    }
  }
}

Call::Call(Device& device, const DenseDecode& plan, int64_t d_v,
           const seesaw_dense_decode_args& inputs, bool max_logits)
    : device_(device), plan_(plan), inputs_(device, inputs), args_(inputs_.args()) {
  args_.out = out_of(args_.q, d_v);
  args_.lse = lse_of(args_.q);
  args_.out.device = args_.lse.device = device.id();
  out_ = poisoned(device, packed_bytes(args_.out));
  lse_ = poisoned(device, packed_bytes(args_.lse));
  schedule_ = DeviceBuffer(device, plan.schedule_bytes());
  workspace_ = poisoned(device, plan.workspace_bytes());
  args_.out.data = out_.data();
  args_.lse.data = lse_.data();
  if (max_logits) {
    max_logits_ = poisoned(device, packed_bytes(args_.lse));
    args_.max_logits = args_.lse;
    args_.max_logits.data = max_logits_.data();
  }
  call_.schedule = schedule_.data();
  call_.schedule_bytes = schedule_.size_bytes();
  call_.workspace = workspace_.data();
  call_.workspace_bytes = workspace_.size_bytes();
  call_.stream = device.stream();
}

std::vector<seesaw_piece> Call::pieces() {
  AlignedBuffer host(schedule_.size_bytes());
  device_.synchronise();
  device_.copy_out(host.data(), schedule_.data(), schedule_.size_bytes());
  return plan_.pieces(host.data(), host.size());
}

std::vector<std::byte> Call::out() { return on_host<std::byte>(device_, out_); }
std::vector<float> Call::lse() { return on_host<float>(device_, lse_); }
std::vector<float> Call::max_logits() { return on_host<float>(device_, max_logits_); }

}  // namespace seesaw::lab
