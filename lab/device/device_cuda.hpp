// A CUDA GPU as a device. Only in builds with GPU kernels.
#pragma once

#include <memory>

#include "lab/device/device.hpp"

namespace seesaw::lab {

// The GPU of that ordinal, with a stream of its own; throws Error if CUDA has none such.
std::unique_ptr<Device> open_cuda_device(int index);

}  // namespace seesaw::lab
