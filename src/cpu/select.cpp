#include "cpu/select.hpp"

#include <algorithm>
#include <cstdlib>
#include <string_view>

namespace seesaw::cpu {

Target detected_target() {
#if defined(__x86_64__)
  // GCC's runtime looks at what the operating system saves, too.
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (avx512) {
    return __builtin_cpu_supports("avx512bf16") ? Target::kAvx512Bf16 : Target::kAvx512;
  }
  return avx2 ? Target::kAvx2 : Target::kBaseline;
#else
  return Target::kBaseline;
#endif
}

std::optional<Target> allowed_target() {
  const char* wanted = std::getenv("SEESAW_CPU_TARGET");
  if (wanted == nullptr || *wanted == '\0') {
    return detected_target();
  }
  constexpr std::string_view kNames[] = {"baseline", "avx2", "avx512", "avx512bf16"};
  const auto* name = std::find(std::begin(kNames), std::end(kNames), wanted);
  if (name == std::end(kNames)) {
    return std::nullopt;
  }
  return std::min(detected_target(), static_cast<Target>(name - std::begin(kNames)));
}

const Microkernel& choose_microkernel(DType q_dtype, DType kv_dtype, Target target) {
  const bool both_bf16 = q_dtype == DType::kBFloat16 && kv_dtype == DType::kBFloat16;
  if (both_bf16 && target == Target::kAvx512Bf16) {
    return *bf16_dot_microkernel();
  }
  return float_microkernel(target);
}

std::string microkernel_name() {
  const std::optional<Target> target = allowed_target();
  return choose_microkernel(DType::kBFloat16, DType::kBFloat16, target.value_or(Target::kBaseline))
      .name;
}

}  // namespace seesaw::cpu
