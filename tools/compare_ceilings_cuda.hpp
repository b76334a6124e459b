// A GPU's ceilings: cuBLAS's square products, found at run time, and a sweep over memory.
#pragma once

#include "compare_ceilings.hpp"

namespace seesaw::tools {

DeviceCeilings measure_cuda_ceilings(Device& device);

}  // namespace seesaw::tools
