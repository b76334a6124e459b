// The rate of the widest float multiply-add, from registers, and of reading memory.
#include "lab/roofs/cpu_loops.hpp"

// Vectors without a fixed size cannot form arrays of accumulators.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lab/roofs/cpu_float_fma.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace seesaw::lab {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <int kAccumulators>
double fma_loop(int64_t steps) {
  const hn::ScalableTag<float> d;
  using V = hn::Vec<decltype(d)>;
  V sum[kAccumulators];
  for (int i = 0; i < kAccumulators; ++i) {
    sum[i] = hn::Set(d, static_cast<float>(i));
  }
  const V a = hn::Set(d, 0x1p-60F);
  V b = a;
  for (int64_t step = 0; step < steps; ++step) {
#pragma GCC unroll 24
    for (int i = 0; i < kAccumulators; ++i) {
      sum[i] = hn::MulAdd(a, b, sum[i]);
    }
#if HWY_ARCH_X86 && !defined(__clang__)
    asm volatile("" : "+v"(b.raw));  // the operand counts as new: nothing leaves the loop
#endif
  }
  V total = sum[0];
  for (int i = 1; i < kAccumulators; ++i) {
    total = hn::Add(total, sum[i]);
  }
  roof_sink = hn::GetLane(hn::SumOfLanes(d, total));
  return static_cast<double>(steps) * kAccumulators * 2 * static_cast<double>(hn::Lanes(d));
}

double run_float_fma(int accumulators, int64_t steps) {
  switch (accumulators) {
    case 4:
      return fma_loop<4>(steps);
    case 8:
      return fma_loop<8>(steps);
    case 12:
      return fma_loop<12>(steps);
    case 16:
      return fma_loop<16>(steps);
    default:
      return fma_loop<24>(steps);
  }
}

uint64_t sum_words(const uint64_t* words, size_t count) {
  const hn::ScalableTag<uint64_t> d;
  const size_t lanes = hn::Lanes(d);
  auto sum0 = hn::Zero(d), sum1 = sum0, sum2 = sum0, sum3 = sum0;
  for (size_t i = 0; i < count; i += 4 * lanes) {
    sum0 = hn::Add(sum0, hn::LoadU(d, words + i));
    sum1 = hn::Add(sum1, hn::LoadU(d, words + i + lanes));
    sum2 = hn::Add(sum2, hn::LoadU(d, words + i + 2 * lanes));
    sum3 = hn::Add(sum3, hn::LoadU(d, words + i + 3 * lanes));
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3))));
}

}  // namespace HWY_NAMESPACE
}  // namespace seesaw::lab
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace seesaw::lab {

HWY_EXPORT(run_float_fma);
HWY_EXPORT(sum_words);

volatile float roof_sink = 0;

double run_float_fma(int accumulators, int64_t steps) {
  return HWY_DYNAMIC_DISPATCH(run_float_fma)(accumulators, steps);
}

uint64_t sum_words(const uint64_t* words, size_t count) {
  return HWY_DYNAMIC_DISPATCH(sum_words)(words, count);
}

}  // namespace seesaw::lab
#endif
