#include "lab/device/tensors.hpp"

#include "lab/elements.hpp"

namespace seesaw::lab {
namespace {

// From its first element to its last.
size_t spanned_bytes(const seesaw_tensor& tensor) {
  int64_t last = 0;
  for (int32_t i = 0; i < tensor.rank; ++i) {
    if (tensor.shape[i] == 0) {
      return 0;
    }
    last += (tensor.shape[i] - 1) * tensor.stride[i];
  }
  return static_cast<size_t>(last + 1) * size_of(tensor.dtype);
}

}  // namespace

void BroughtTensors::bring(Device& device, seesaw_tensor* tensor) {
  if (!device.is_host() && tensor->device.type != SEESAW_CUDA) {
    const size_t size_bytes = spanned_bytes(*tensor);
    memory_.emplace_back(device, size_bytes);
    device.copy_in(memory_.back().data(), tensor->data, size_bytes);
    tensor->data = memory_.back().data();
  }
  tensor->device = device.id();
}

DeviceBuffer poisoned(Device& device, size_t size_bytes) {
  DeviceBuffer buffer(device, size_bytes);
  const std::vector<unsigned char> nan(size_bytes, kPoison);
  device.copy_in(buffer.data(), nan.data(), size_bytes);
  return buffer;
}

}  // namespace seesaw::lab
