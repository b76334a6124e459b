// Tensors of a call on a device: brought there, or made there, and their contents brought back.
#pragma once

#include <cstddef>
#include <vector>

#include "lab/device/device.hpp"

namespace seesaw::lab {

// Keeps what it brings. On the CPU, and of tensors that are on a GPU already, nothing is copied.
class BroughtTensors {
 public:
  // Host memory, the gaps between its rows too. `tensor` then points to the copy.
  void bring(Device& device, seesaw_tensor* tensor);

 private:
  std::vector<DeviceBuffer> memory_;
};

// Memory of which every float is NaN.
DeviceBuffer poisoned(Device& device, size_t size_bytes);

// What a buffer holds, after all that was enqueued before.
template <typename T>
std::vector<T> on_host(Device& device, const DeviceBuffer& from) {
  std::vector<T> host(from.size_bytes() / sizeof(T));
  device.synchronise();
  device.copy_out(host.data(), from.data(), from.size_bytes());
  return host;
}

}  // namespace seesaw::lab
