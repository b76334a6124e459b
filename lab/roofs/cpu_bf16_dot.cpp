// The rate of AVX-512's bfloat16 dot product, from registers.
#include "lab/roofs/cpu_loops.hpp"

#if defined(__x86_64__)
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bf16"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bf16")
#endif
namespace seesaw::lab {
namespace {

template <int kAccumulators>
double dot_loop(int64_t steps) {
  __m512 sum[kAccumulators];
  for (int i = 0; i < kAccumulators; ++i) {
    sum[i] = _mm512_set1_ps(static_cast<float>(i));
  }
  // 2^-60 in bf16: the products underflow, so that no sum ever changes its speed or overflows.
  const __m512bh a = reinterpret_cast<__m512bh>(_mm512_set1_epi16(0x2180));
  __m512bh b = a;
  for (int64_t step = 0; step < steps; ++step) {
#pragma GCC unroll 24
    for (int i = 0; i < kAccumulators; ++i) {
      sum[i] = _mm512_dpbf16_ps(sum[i], a, b);
    }
    asm volatile("" : "+v"(b));  // the operand counts as new: nothing leaves the loop
  }
  __m512 total = sum[0];
  for (int i = 1; i < kAccumulators; ++i) {
    total = _mm512_add_ps(total, sum[i]);
  }
  roof_sink = _mm512_cvtss_f32(total);
  constexpr double kFlopsPerInstruction = 16 * 2 * 2;  // lanes, pairs, multiply and add
  return static_cast<double>(steps) * kAccumulators * kFlopsPerInstruction;
}

}  // namespace
}  // namespace seesaw::lab
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace seesaw::lab {

double run_bf16_dot(int accumulators, int64_t steps) {
  if (!__builtin_cpu_supports("avx512bf16")) {
    return 0;
  }
  switch (accumulators) {
    case 4:
      return dot_loop<4>(steps);
    case 8:
      return dot_loop<8>(steps);
    case 12:
      return dot_loop<12>(steps);
    case 16:
      return dot_loop<16>(steps);
    default:
      return dot_loop<24>(steps);
  }
}

}  // namespace seesaw::lab

#else

namespace seesaw::lab {
double run_bf16_dot(int, int64_t) { return 0; }
}  // namespace seesaw::lab

#endif
