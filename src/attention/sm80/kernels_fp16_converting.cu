#include <cuda_fp16.h>

#include "attention/sm80/instance.cuh"

namespace seesaw::attention::sm80 {

std::span<const Instance> fp16_converting_instances() { return instances_of<__half, true>(); }

}  // namespace seesaw::attention::sm80
