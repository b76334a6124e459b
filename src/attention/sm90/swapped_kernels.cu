// Every instance with swapped operands.
#include "attention/sm90/instance.cuh"

namespace seesaw::attention::sm90 {

std::span<const Instance> swapped_instances() {
  static constexpr Instance kInstances[] = {
      kInstance<__nv_bfloat16, 576, true, 16>,  kInstance<__nv_bfloat16, 576, true, 32>,
      kInstance<__nv_bfloat16, 512, true, 16>,  kInstance<__nv_bfloat16, 512, true, 32>,
      kInstance<__nv_bfloat16, 576, false, 16>, kInstance<__nv_bfloat16, 576, false, 32>,
      kInstance<__nv_bfloat16, 512, false, 16>, kInstance<__nv_bfloat16, 512, false, 32>,
      kInstance<__half, 576, false, 16>,        kInstance<__half, 576, false, 32>,
      kInstance<__half, 512, false, 16>,        kInstance<__half, 512, false, 32>,
  };
  return kInstances;
}

}  // namespace seesaw::attention::sm90
