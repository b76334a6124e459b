// One dense-decoding call on a device: inputs from the host brought there, outputs, schedule and
// workspace allocated, and the results brought back.
#pragma once

#include <cstdint>
#include <vector>

#include "lab/device/tensors.hpp"
#include "seesaw/ops/dense_decode.h"

namespace seesaw::lab {

// Results of a call on queries q [b, s_q, h_q, d_qk], or ragged [total_q, h_q, d_qk]: packed,
// without memory. lse's are max_logits' too.
seesaw_tensor out_of(const seesaw_tensor& q, int64_t d_v);
seesaw_tensor lse_of(const seesaw_tensor& q);

// The inputs of `args` on a device: brought there, or where they are if that is the device's own
// memory.
class DeviceInputs {
 public:
  DeviceInputs(Device& device, const seesaw_dense_decode_args& args);
  const seesaw_dense_decode_args& args() const { return args_; }

 private:
  BroughtTensors brought_;
  seesaw_dense_decode_args args_;
};

class Call {
 public:
  // `plan` was made for a problem of these inputs with values of d_v columns; it and the inputs, if
  // they are in the device's memory, must outlive this. Results and workspace start as NaN, so that
  // an element read before it was written, or not written at all, shows. max_logits: they are asked
  // for.
  Call(Device& device, const DenseDecode& plan, int64_t d_v, const seesaw_dense_decode_args& inputs,
       bool max_logits = false);

  void prepare() { plan_.prepare(args_, call_); }
  void run() { plan_.run(args_, call_); }  // prepared before
  std::vector<seesaw_trace_span> trace(size_t capacity) {
    return plan_.trace(args_, call_, capacity);
  }
  std::vector<seesaw_piece> pieces();

  std::vector<std::byte> out();  // as out_of() has it, in the dtype of q
  std::vector<float> lse();      // as lse_of() has it
  std::vector<float> max_logits();

 private:
  Device& device_;
  const DenseDecode& plan_;
  DeviceInputs inputs_;
  seesaw_dense_decode_args args_;
  DeviceBuffer out_;
  DeviceBuffer lse_;
  DeviceBuffer max_logits_;
  DeviceBuffer schedule_;
  DeviceBuffer workspace_;
  seesaw_call call_;
};

}  // namespace seesaw::lab
