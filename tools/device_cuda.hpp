// A CUDA GPU as the command's device. Only in builds with GPU kernels.
#pragma once

#include <memory>

#include "device.hpp"

namespace seesaw::tools {

// The GPU of that ordinal, with a stream of its own; throws Failure if CUDA has none such.
std::unique_ptr<Device> open_cuda_device(int index);

}  // namespace seesaw::tools
