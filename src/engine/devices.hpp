// The devices that kernels of this build could run on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/tensor.hpp"

namespace seesaw::engine {

struct DeviceDescription {
  Device device;
  bool usable = false;
  int32_t num_units = 0;  // cores, or streaming multiprocessors
  uint64_t memory_bytes = 0;
  std::string name;
  std::string features;
  std::string reason;  // why not usable
};

// The CPU, then the GPUs, or one unusable entry that says why there are none.
std::vector<DeviceDescription> list_devices();

// What a measurement on the device holds for: "AMD EPYC, 2 CPUs, avx512bf16", "NVIDIA H200, 132
// SMs, compute capability 9.0". Cached where that takes long.
std::string device_key(const Device& device);

}  // namespace seesaw::engine
