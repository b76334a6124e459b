#include "scratch.hpp"

#include <tvm/ffi/extra/c_env_api.h>

#include <new>
#include <string>

#include "seesaw/seesaw.hpp"

namespace seesaw::python {
namespace {

void keep_message(void* to, const char* /*kind*/, const char* message) {
  *static_cast<std::string*>(to) = message;
}

}  // namespace

Scratch::Scratch(uint64_t bytes, const seesaw_device& device) {
  if (bytes == 0) {
    return;
  }
  if (device.type == SEESAW_CPU) {
    data_ = static_cast<std::byte*>(::operator new(bytes, std::align_val_t(kAlignment)));
    return;
  }
  made_ = allocate_from_library(bytes, device);
}

bool Scratch::allocate_from_library(uint64_t bytes, const seesaw_device& device) {
  const DLPackManagedTensorAllocator allocate = TVMFFIEnvGetDLPackManagedTensorAllocator();
  if (allocate == nullptr) {
    return false;
  }
  int64_t shape = static_cast<int64_t>(bytes + kAlignment - 1);
  DLTensor wanted{};
  wanted.device = {kDLCUDA, device.index};
  wanted.dtype = {kDLUInt, 8, 1};
  wanted.ndim = 1;
  wanted.shape = &shape;
  std::string message;
  if (allocate(&wanted, &tensor_, &message, keep_message) != 0) {
    throw Error(SEESAW_DEVICE_ERROR, message);
  }
  const DLTensor& made = tensor_->dl_tensor;
  const auto begin = reinterpret_cast<uintptr_t>(made.data) + made.byte_offset;
  const uintptr_t padding = (kAlignment - begin % kAlignment) % kAlignment;
  data_ = reinterpret_cast<std::byte*>(begin + padding);
  return true;
}

Scratch::~Scratch() {
  if (tensor_ != nullptr) {
    tensor_->deleter(tensor_);
  } else if (data_ != nullptr) {
    ::operator delete(data_, std::align_val_t(kAlignment));
  }
}

}  // namespace seesaw::python
