#include "cpu/multiply_rates.hpp"

#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace seesaw::cpu {
namespace {

// Two multiply-adds a cycle with a latency of four to six.
constexpr int kAccumulators = 12;
constexpr int64_t kSteps = 2000;  // 4 to 16 us

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bf16"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bf16")
#endif

// Zeros times zeros: no value changes its speed. The operands count as new in each step, so that
// nothing leaves the loop.
float run_float_fma() {
  __m512 sum[kAccumulators] = {};
  __m512 a = _mm512_setzero_ps();
  for (int64_t step = 0; step < kSteps; ++step) {
#pragma GCC unroll 12
    for (int i = 0; i < kAccumulators; ++i) {
      sum[i] = _mm512_fmadd_ps(a, a, sum[i]);
    }
    asm volatile("" : "+v"(a));
  }
  for (int i = 1; i < kAccumulators; ++i) {
    sum[0] = _mm512_add_ps(sum[0], sum[i]);
  }
  return _mm512_cvtss_f32(sum[0]);
}

float run_bf16_dot() {
  __m512 sum[kAccumulators] = {};
  __m512bh a = reinterpret_cast<__m512bh>(_mm512_setzero_si512());
  for (int64_t step = 0; step < kSteps; ++step) {
#pragma GCC unroll 12
    for (int i = 0; i < kAccumulators; ++i) {
      sum[i] = _mm512_dpbf16_ps(sum[i], a, a);
    }
    asm volatile("" : "+v"(a));
  }
  for (int i = 1; i < kAccumulators; ++i) {
    sum[0] = _mm512_add_ps(sum[0], sum[i]);
  }
  return _mm512_cvtss_f32(sum[0]);
}

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

MultiplyRates measure() {
  MultiplyRates rates;
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bf16")) {
    return rates;
  }
  using Clock = std::chrono::steady_clock;
  volatile float sink = 0;
  const auto raise = [&](double* best, float (*run)(), double flops_per_instruction) {
    const Clock::time_point start = Clock::now();
    sink = run();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    *best = std::max(*best, kSteps * kAccumulators * flops_per_instruction / seconds * 1e-9);
  };
  // In turn, and the best of each: neither pays for a neighbour or for the clock's first steps.
  for (int trial = 0; trial < 24; ++trial) {
    raise(&rates.float_fma, run_float_fma, 16 * 2);
    raise(&rates.bf16_dot, run_bf16_dot, 16 * 2 * 2);
  }
  return rates;
}

}  // namespace

const MultiplyRates& multiply_rates() {
  static const MultiplyRates rates = measure();
  return rates;
}

}  // namespace seesaw::cpu

#else

namespace seesaw::cpu {

const MultiplyRates& multiply_rates() {
  static const MultiplyRates none;
  return none;
}

}  // namespace seesaw::cpu

#endif
