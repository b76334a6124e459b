#include "call.hpp"

#include "numbers.hpp"

namespace seesaw::tools {
namespace {

// Results and workspace start as NaN, so that an element read before it was written, or not written
// at all, shows.
DeviceBuffer poisoned(Device& device, size_t size_bytes) {
  DeviceBuffer buffer(device, size_bytes);
  const std::vector<std::byte> nan(size_bytes, std::byte{0xFF});
  device.copy_in(buffer.data(), nan.data(), size_bytes);
  return buffer;
}

size_t product(std::initializer_list<int64_t> factors) {
  size_t result = 1;
  for (const int64_t factor : factors) {
    result *= static_cast<size_t>(factor);
  }
  return result;
}

}  // namespace

Call::Call(Device& device, const DenseDecodeDescriptor& d, const DenseDecode& plan,
           const HostTensors& host)
    : device_(device),
      plan_(plan),
      in_place_(host.on_device),
      out_(poisoned(device, product({d.batch, d.s_q, d.h_q, d.d_v}) * size_of(d.q_dtype))),
      lse_(poisoned(device, product({d.batch, d.h_q, d.s_q}) * sizeof(float))),
      schedule_(device, plan.schedule_bytes()),
      workspace_(poisoned(device, plan.workspace_bytes())) {
  const size_t q_bytes = product({d.batch, d.s_q, d.h_q, d.d_qk}) * size_of(d.q_dtype);
  const size_t cache_bytes =
      product({host.num_pages, d.page_size, d.h_kv, d.d_qk}) * size_of(d.kv_dtype);
  const size_t table_bytes = product({d.batch, d.max_pages_per_sequence}) * sizeof(int32_t);
  const size_t lens_bytes = product({d.batch}) * sizeof(int32_t);
  tensors_.q =
      make_tensor(bring(host.q, q_bytes), d.q_dtype, {d.batch, d.s_q, d.h_q, d.d_qk}, d.device);
  tensors_.kv_cache = make_tensor(bring(host.kv_cache, cache_bytes), d.kv_dtype,
                                  {host.num_pages, d.page_size, d.h_kv, d.d_qk}, d.device);
  tensors_.block_table = make_tensor(bring(host.block_table, table_bytes), SEESAW_INT32,
                                     {d.batch, d.max_pages_per_sequence}, d.device);
  tensors_.seq_lens =
      make_tensor(bring(host.seq_lens, lens_bytes), SEESAW_INT32, {d.batch}, d.device);
  tensors_.out = make_tensor(out_.data(), d.q_dtype, {d.batch, d.s_q, d.h_q, d.d_v}, d.device);
  tensors_.lse = make_tensor(lse_.data(), SEESAW_FLOAT32, {d.batch, d.h_q, d.s_q}, d.device);
  tensors_.scale = host.scale;
  tensors_.schedule = schedule_.data();
  tensors_.schedule_bytes = schedule_.size_bytes();
  tensors_.workspace = workspace_.data();
  tensors_.workspace_bytes = workspace_.size_bytes();
  tensors_.stream = device.stream();
}

const void* Call::bring(const void* host, size_t size_bytes) {
  if (device_.is_host() || in_place_) {
    return host;
  }
  inputs_.emplace_back(device_, size_bytes);
  device_.copy_in(inputs_.back().data(), host, size_bytes);
  return inputs_.back().data();
}

void Call::schedule() {
  plan_.schedule(tensors_.seq_lens, schedule_.data(), schedule_.size_bytes(), device_.stream());
}

void Call::run() { plan_.run(tensors_); }

std::vector<seesaw_piece> Call::pieces() {
  AlignedBuffer host(schedule_.size_bytes());
  device_.synchronise();
  device_.copy_out(host.data(), schedule_.data(), schedule_.size_bytes());
  return plan_.pieces(host.data(), host.size());
}

std::vector<std::byte> Call::out() {
  std::vector<std::byte> host(out_.size_bytes());
  device_.synchronise();
  device_.copy_out(host.data(), out_.data(), host.size());
  return host;
}

std::vector<float> Call::lse() {
  std::vector<float> host(lse_elements());
  device_.synchronise();
  device_.copy_out(host.data(), lse_.data(), lse_.size_bytes());
  return host;
}

}  // namespace seesaw::tools
