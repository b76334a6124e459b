// Which microkernel a problem gets on this machine, and why.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "cpu/microkernel.hpp"

namespace seesaw::cpu {

// The values of the environment variable SEESAW_CPU_TARGET, in the order of Target.
inline constexpr std::string_view kTargetNames[] = {"baseline",   "avx2", "avx512",
                                                    "avx512bf16", "amx",  "emulated-amx"};

// The best instruction set, `most` at most, of this CPU that has a microkernel here. Only who wants
// AMX asks the operating system for it.
Target best_target(Target most);

// What a bfloat16 problem is multiplied with, in words for `seesaw info`.
struct TargetChoice {
  Target target = Target::kBaseline;
  std::string reason;
};

// Without SEESAW_CPU_TARGET the fastest that there is: AMX; else the faster, as measured, of bf16
// dot products and float multiply-adds; else the best. SEESAW_CPU_TARGET names the best that may be
// used; nullopt if it holds none of kTargetNames.
std::optional<TargetChoice> choose_target();

// Where both are there: bf16 dot products or float multiply-adds, by their rates.
TargetChoice faster_target(double float_fma_gflops, double bf16_dot_gflops);

// What of `target` serves queries and a cache of these dtypes: all but bfloat16 are multiplied in
// float vectors.
Target target_for(DType q_dtype, DType kv_dtype, Target target);

// The microkernel for queries and a cache of these dtypes on `target`.
const Microkernel& choose_microkernel(DType q_dtype, DType kv_dtype, Target target);

// Name of the microkernel that a bfloat16 problem would get here and now.
std::string microkernel_name();

// The same with the reason, for `seesaw info`.
std::string microkernel_description();

}  // namespace seesaw::cpu
