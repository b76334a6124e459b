// What this machine can do at most, measured: the rates that a kernel's speed is held against.
//
// Multiply rates come from loops that touch no memory: N independent accumulators in registers,
// each fed by the same two operands, so that only the instruction's issue rate is left. Too few
// accumulators measure the instruction's latency instead (this is how a peak comes out too low), so
// several counts are run and the best one wins; the whole sweep is in the result.
#pragma once

#include <array>

namespace seesaw::lab {

inline constexpr std::array<int, 5> kAccumulatorCounts = {4, 8, 12, 16, 24};

// GFLOP/s of one instruction by number of independent accumulators.
using AccumulatorSweep = std::array<double, kAccumulatorCounts.size()>;

struct CpuRoofs {
  double float_fma_gflops_1 = 0;  // float multiply-add in the widest vectors, one thread
  double float_fma_gflops_all = 0;
  double bf16_dot_gflops_1 = 0;  // vdpbf16ps; 0 where the CPU has none
  double bf16_dot_gflops_all = 0;
  double amx_registers_gflops_1 = 0;  // tdpbf16ps; 0 where there is none, or no permission
  double amx_registers_gflops_all = 0;
  double amx_first_cache_gflops_1 = 0;    // with every operand loaded from the first cache: what a
  double amx_first_cache_gflops_all = 0;  // product of matrices can reach; hyperthreads share one
  double read_gbps_all = 0;               // summing a buffer several times the last cache's size
  int threads = 1;
  int best_accumulators = 0;  // of the fastest bf16 loop, or float loop where there is none
  AccumulatorSweep float_fma_sweep{};  // one thread
  AccumulatorSweep bf16_dot_sweep{};
};

// Takes about a second. `threads` >= 1.
CpuRoofs measure_cpu_roofs(int threads);

}  // namespace seesaw::lab
