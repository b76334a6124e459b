// Memory that lasts for one call. On the CPU the C++ allocator's; on a GPU that of the array
// library whose arrays came with the call, as tvm-ffi hands it on: it gives freed memory to later
// work of the same stream in order, and to a graph's own pool during capture (decision 0021).
#pragma once

#include <cstddef>
#include <cstdint>

#include "seesaw/seesaw.h"

struct DLManagedTensorVersioned;

namespace seesaw::python {

class Scratch {
 public:
  static constexpr uint64_t kAlignment = 256;

  // Throws Error if the array library has no memory. 0 bytes are always made.
  Scratch(uint64_t bytes, const seesaw_device& device);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // false: the array library has no allocator for others.
  bool made() const { return made_; }
  std::byte* data() const { return data_; }

 private:
  bool allocate_from_library(uint64_t bytes, const seesaw_device& device);

  std::byte* data_ = nullptr;
  DLManagedTensorVersioned* tensor_ = nullptr;  // null: the C++ allocator's
  bool made_ = true;
};

}  // namespace seesaw::python
