#include <cuda_bf16.h>

#include "attention/sm80/instance.cuh"

namespace seesaw::attention::sm80 {

std::span<const Instance> bf16_instances() { return instances_of<__nv_bfloat16, false>(); }

}  // namespace seesaw::attention::sm80
