// The rates that a row's speed is held against, by dtype, of the CPU or of a GPU.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "lab/device/device.hpp"
#include "laboratory.hpp"
#include "roofs.hpp"

namespace seesaw::tools {

// What the device can do at most, measured in this run. 0: not measured, or not there.
struct DeviceRoofs {
  double float32_gflops = 0;
  double bfloat16_gflops = 0;
  double float16_gflops = 0;
  double read_gbps = 0;
  std::string method;  // in words
};

DeviceRoofs measure_roofs(Device& device, int32_t threads);
DeviceRoofs measure_cuda_roofs(Device& device);  // in builds with CUDA
nlohmann::ordered_json to_json(const DeviceRoofs& roofs);

// Of products of this dtype; `as_float32`: on float32 copies.
Roofs roofs_of(const DeviceRoofs& roofs, seesaw_dtype dtype, bool as_float32);

}  // namespace seesaw::tools
