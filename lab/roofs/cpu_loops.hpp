// The loops whose rates are the roofs. Each is compiled for its own instruction set and chosen
// at run time.
#pragma once

#include <cstddef>
#include <cstdint>

namespace seesaw::lab {

// Runs `steps` steps of `accumulators` (one of kAccumulatorCounts) independent multiply-adds and
// returns the floating-point operations done (2 for a multiply-add). 0: not on this CPU.
double run_float_fma(int accumulators, int64_t steps);
double run_bf16_dot(int accumulators, int64_t steps);

// The same of AMX's tiles, which are eight: always 2 x 2 accumulators.
double run_amx_registers(int accumulators, int64_t steps);
double run_amx_first_cache(int accumulators, int64_t steps);

// Sum of `count` words, a multiple of 1024 bytes, in the widest vectors.
uint64_t sum_words(const uint64_t* words, size_t count);

// Stores here keep results alive that nobody needs.
extern volatile float roof_sink;

}  // namespace seesaw::lab
