// A GPU's ceilings: cuBLAS's square products, found at run time, and a sweep over memory.
#pragma once

#include "compare/device_ceilings.hpp"

namespace seesaw::tools {

DeviceCeilings measure_cuda_ceilings(Device& device);

}  // namespace seesaw::tools
