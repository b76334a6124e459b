// How fast this CPU multiplies bfloat16, by instruction, where more than one can.
#pragma once

namespace seesaw::cpu {

// GFLOP/s of one thread from registers; 0 where the CPU has no such instruction.
struct MultiplyRates {
  double float_fma = 0;  // AVX-512
  double bf16_dot = 0;   // vdpbf16ps
};

// Measured at the first call, in about a millisecond. Feature bits do not tell: vdpbf16ps does
// twice the work of a float multiply-add on one CPU and half of it on another.
const MultiplyRates& multiply_rates();

}  // namespace seesaw::cpu
