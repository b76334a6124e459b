// Every instance with swapped operands.
#include "attention/sm90/instance.cuh"

namespace seesaw::attention::sm90 {

std::span<const Instance> swapped_instances() {
  static constexpr Instance kInstances[] = {
      kInstance<__nv_bfloat16, 576, true, kSwappedRows>,
      kInstance<__nv_bfloat16, 512, true, kSwappedRows>,
      kInstance<__nv_bfloat16, 576, false, kSwappedRows>,
      kInstance<__nv_bfloat16, 512, false, kSwappedRows>,
      kInstance<__half, 576, false, kSwappedRows>,
      kInstance<__half, 512, false, kSwappedRows>,
  };
  return kInstances;
}

}  // namespace seesaw::attention::sm90
