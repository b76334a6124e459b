// Every instance of the seesaw.
#include "attention/sm90/instance.cuh"

namespace seesaw::attention::sm90 {

std::span<const Instance> seesaw_instances() {
  static constexpr Instance kInstances[] = {
      kInstance<__nv_bfloat16, 576, true>,  kInstance<__nv_bfloat16, 512, true>,
      kInstance<__nv_bfloat16, 576, false>, kInstance<__nv_bfloat16, 512, false>,
      kInstance<__half, 576, false>,        kInstance<__half, 512, false>,
  };
  return kInstances;
}

}  // namespace seesaw::attention::sm90
