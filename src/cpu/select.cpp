#include "cpu/select.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "cpu/amx.hpp"
#include "cpu/multiply_rates.hpp"

namespace seesaw::cpu {
namespace {

Target detect_without_amx() {
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

TargetChoice fastest_target() {
  const Target best = best_target(Target::kAmx);
  if (best == Target::kAvx512Bf16) {
    const MultiplyRates& rates = multiply_rates();
    return faster_target(rates.float_fma, rates.bf16_dot);
  }
  return {best, ask_for_amx() == AmxAnswer::kRefusedBySystem
                    ? "the best of this CPU but for AMX, which the operating system refused"
                    : "the best that this CPU has"};
}

}  // namespace

Target best_target(Target most) {
  static const Target without_amx = detect_without_amx();
  if (most >= Target::kAmx && without_amx >= Target::kAvx512 &&
      ask_for_amx() == AmxAnswer::kGranted) {
    return Target::kAmx;
  }
  return std::min(most, without_amx);
}

TargetChoice faster_target(double float_fma_gflops, double bf16_dot_gflops) {
  // An equal rate is for the dot product: it reads half as many bytes. CPUs have been seen at 2 and
  // at 0.5 times the rate; the latter and 1 are told apart at their geometric mean.
  constexpr double kEnough = 0.71;
  char ratio[32];
  std::snprintf(ratio, sizeof(ratio), "%.2f", bf16_dot_gflops / float_fma_gflops);
  return {bf16_dot_gflops >= kEnough * float_fma_gflops ? Target::kAvx512Bf16 : Target::kAvx512,
          std::string("measured, bf16 dot products run at ") + ratio +
              " times the rate of float multiply-adds here"};
}

std::optional<TargetChoice> choose_target() {
  const char* wanted = std::getenv("SEESAW_CPU_TARGET");
  if (wanted == nullptr || *wanted == '\0') {
    return fastest_target();
  }
  const auto* name = std::find(std::begin(kTargetNames), std::end(kTargetNames), wanted);
  if (name == std::end(kTargetNames)) {
    return std::nullopt;
  }
  const auto named = static_cast<Target>(name - std::begin(kTargetNames));
  return TargetChoice{named == Target::kEmulatedAmx ? named : best_target(named),
                      std::string("the environment variable SEESAW_CPU_TARGET is ") + wanted};
}

Target target_for(DType q_dtype, DType kv_dtype, Target target) {
  const bool both_bf16 = q_dtype == DType::kBFloat16 && kv_dtype == DType::kBFloat16;
  return both_bf16 ? target : best_target(std::min(target, Target::kAvx512));
}

const Microkernel& choose_microkernel(DType q_dtype, DType kv_dtype, Target target) {
  const Target served = target_for(q_dtype, kv_dtype, target);
  switch (served) {
    case Target::kEmulatedAmx:
      return emulated_amx_microkernel();
    case Target::kAmx:
      return *amx_microkernel();
    case Target::kAvx512Bf16:
      return *bf16_dot_microkernel();
    default:
      return float_microkernel(served);
  }
}

std::string microkernel_name() {
  const std::optional<TargetChoice> choice = choose_target();
  const Target target = choice.has_value() ? choice->target : Target::kBaseline;
  return choose_microkernel(DType::kBFloat16, DType::kBFloat16, target).name;
}

std::string microkernel_description() {
  const std::optional<TargetChoice> choice = choose_target();
  return choice.has_value() ? microkernel_name() + ": " + choice->reason
                            : "nothing: SEESAW_CPU_TARGET names no instruction set";
}

}  // namespace seesaw::cpu
