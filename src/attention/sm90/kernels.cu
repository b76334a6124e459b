// Every instance of the kernel.
#include "attention/sm90/kernels.hpp"

#include "attention/sm90/instance.cuh"

namespace seesaw::attention::sm90 {

AttentionKernel find_attention_kernel(const InstanceKey& key) {
  struct Instance {
    InstanceKey key;
    AttentionKernel launch;
  };
  static constexpr Instance kInstances[] = {
      {{DType::kBFloat16, 576, true}, launch_instance<Config<__nv_bfloat16, 576, true>>},
      {{DType::kBFloat16, 512, true}, launch_instance<Config<__nv_bfloat16, 512, true>>},
      {{DType::kBFloat16, 576, false}, launch_instance<Config<__nv_bfloat16, 576, false>>},
      {{DType::kBFloat16, 512, false}, launch_instance<Config<__nv_bfloat16, 512, false>>},
      {{DType::kFloat16, 576, false}, launch_instance<Config<__half, 576, false>>},
      {{DType::kFloat16, 512, false}, launch_instance<Config<__half, 512, false>>},
  };
  for (const Instance& instance : kInstances) {
    if (instance.key.type == key.type && instance.key.d_qk == key.d_qk &&
        instance.key.converts == key.converts) {
      return instance.launch;
    }
  }
  return nullptr;
}

}  // namespace seesaw::attention::sm90
