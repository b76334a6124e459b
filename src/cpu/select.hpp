// Which microkernel a problem gets on this machine.
#pragma once

#include <optional>
#include <string>

#include "cpu/microkernel.hpp"

namespace seesaw::cpu {

// The best instruction set of this CPU that has a microkernel here.
Target detected_target();

// detected_target(), or less if the environment variable SEESAW_CPU_TARGET (baseline, avx2, avx512
// or avx512bf16) names a lesser one; nullopt if it holds anything else.
std::optional<Target> allowed_target();

// The microkernel for queries and a cache of these dtypes on `target`.
const Microkernel& choose_microkernel(DType q_dtype, DType kv_dtype, Target target);

// Name of the microkernel that a bfloat16 problem would get here and now, for `seesaw info`.
std::string microkernel_name();

}  // namespace seesaw::cpu
