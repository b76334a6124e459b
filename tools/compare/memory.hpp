// Memory that a call really takes: the growth of this process's peak resident memory on the CPU,
// the fall of the GPU's free memory on a GPU.
#pragma once

#include <cstdint>
#include <string>

#include "lab/device/device.hpp"
#include "laboratory.hpp"

namespace seesaw::tools {

class MemoryMeter {
 public:
  explicit MemoryMeter(const Device& device);  // from now on

  bool usable() const { return usable_; }  // the system lets peaks be measured
  uint64_t growth_bytes() const;           // of the peak, since the start
  static const char* method(const Device& device);

 private:
  bool host_;
  bool usable_;
  uint64_t start_bytes_;
};

// Free memory of the device: on the CPU as the system estimates it.
uint64_t free_bytes(const Device& device);

}  // namespace seesaw::tools
