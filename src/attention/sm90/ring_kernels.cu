// Every instance with a ring.
#include "attention/sm90/instance.cuh"

namespace seesaw::attention::sm90 {

std::span<const RingInstance> ring_instances() {
  static constexpr RingInstance kInstances[] = {
      kRingInstance<__nv_bfloat16, 576>,
      kRingInstance<__nv_bfloat16, 512>,
      kRingInstance<__half, 576>,
      kRingInstance<__half, 512>,
  };
  return kInstances;
}

}  // namespace seesaw::attention::sm90
