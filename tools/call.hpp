// One dense-decoding call on a device: tensors from the host brought there, outputs, schedule and
// workspace allocated, and the results brought back.
#pragma once

#include <cstdint>
#include <vector>

#include "device.hpp"
#include "seesaw/seesaw.hpp"

namespace seesaw::tools {

// A call's tensors in host memory (or on the device), packed.
struct HostTensors {
  const void* q = nullptr;         // [b, s_q, h_q, d_qk]
  const void* kv_cache = nullptr;  // [num_pages, page_size, h_kv, d_qk]
  int64_t num_pages = 0;
  const int32_t* block_table = nullptr;  // [b, max_pages_per_sequence]
  const int32_t* seq_lens = nullptr;     // [b]
  float scale = 1;
  bool on_device = false;  // they are device memory already, and outlive the calls
};

class Call {
 public:
  // `plan` was made for `descriptor`; both and, on the CPU, the tensors must outlive this.
  Call(Device& device, const DenseDecodeDescriptor& descriptor, const DenseDecode& plan,
       const HostTensors& tensors);

  void schedule();
  void run();  // needs a schedule
  std::vector<seesaw_trace_span> trace(size_t capacity) { return plan_.trace(tensors_, capacity); }
  std::vector<seesaw_piece> pieces();

  size_t out_bytes() const { return out_.size_bytes(); }
  size_t lse_elements() const { return lse_.size_bytes() / sizeof(float); }
  std::vector<std::byte> out();  // [b, s_q, h_q, d_v] in the dtype of q
  std::vector<float> lse();      // [b, h_q, s_q]

 private:
  const void* bring(const void* host, size_t size_bytes);

  Device& device_;
  const DenseDecode& plan_;
  bool in_place_;                     // the tensors are where the call runs
  std::vector<DeviceBuffer> inputs_;  // empty on the CPU
  DeviceBuffer out_;
  DeviceBuffer lse_;
  DeviceBuffer schedule_;
  DeviceBuffer workspace_;
  DenseDecodeTensors tensors_{};
};

}  // namespace seesaw::tools
