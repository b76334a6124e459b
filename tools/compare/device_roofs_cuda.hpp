// A GPU's roofs: cuBLAS's square products, found at run time, and a sweep over memory.
#pragma once

#include "compare/device_roofs.hpp"

namespace seesaw::tools {

DeviceRoofs measure_cuda_roofs(Device& device);

}  // namespace seesaw::tools
