#include "lab/roofs/cpu_roofs.hpp"

#include <omp.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>

#include "lab/roofs/cpu_loops.hpp"

namespace seesaw::lab {
namespace {

using Clock = std::chrono::steady_clock;
using MultiplyLoop = double (*)(int accumulators, int64_t steps);

// The best trial counts: a roof is not lowered by a neighbour. About 2 ms each for products,
// many times that for a sweep of memory.
constexpr int kMultiplyTrials = 40;
constexpr int kReadTrials = 7;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Gives the calling thread the `thread`-th of the CPUs it may run on to itself, and the others back
// at the end: schedulers leave two busy threads on one core for tens of milliseconds.
class OwnCpu {
 public:
  explicit OwnCpu(int thread) {
    if (sched_getaffinity(0, sizeof(allowed_), &allowed_) != 0) {
      return;
    }
    int place = thread % std::max(CPU_COUNT(&allowed_), 1);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &allowed_) && place-- == 0) {
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        pinned_ = sched_setaffinity(0, sizeof(one), &one) == 0;
        return;
      }
    }
  }
  ~OwnCpu() {
    if (pinned_) {
      sched_setaffinity(0, sizeof(allowed_), &allowed_);
    }
  }
  OwnCpu(const OwnCpu&) = delete;
  OwnCpu& operator=(const OwnCpu&) = delete;

 private:
  cpu_set_t allowed_;
  bool pinned_ = false;
};

// Calls work(thread) -> amount on every thread at once, each on a CPU of its own; returns total
// amount / wall time, in units of 1e9 per second. The barriers keep the threads' start-up out of
// the measurement.
template <typename Work>
double best_rate(int trials, [[maybe_unused]] int threads, const Work& work) {
  double best = 0;
  for (int trial = 0; trial < trials; ++trial) {
    double total = 0;
    double seconds = 0;
    Clock::time_point start;
#pragma omp parallel num_threads(threads) reduction(+ : total)
    {
      const OwnCpu pinned(omp_get_thread_num());
#pragma omp barrier
#pragma omp single
      start = Clock::now();
      total = work(omp_get_thread_num());
#pragma omp barrier
#pragma omp single
      seconds = seconds_since(start);
    }
    best = std::max(best, total / seconds * 1e-9);
  }
  return best;
}

// Steps for about two milliseconds of one thread's time: long against a barrier, short against an
// interrupt.
int64_t calibrate(MultiplyLoop loop, int accumulators) {
  int64_t steps = 1000;
  for (;;) {
    const auto start = Clock::now();
    loop(accumulators, steps);
    const double seconds = seconds_since(start);
    if (seconds > 2e-3) {
      return steps;
    }
    steps *= 2;
  }
}

double multiply_rate(MultiplyLoop loop, int accumulators, int threads) {
  if (loop(accumulators, 1) == 0) {
    return 0;
  }
  const int64_t steps = calibrate(loop, accumulators);
  return best_rate(kMultiplyTrials, threads, [&](int) { return loop(accumulators, steps); });
}

AccumulatorSweep sweep(MultiplyLoop loop) {
  AccumulatorSweep rates{};
  for (size_t i = 0; i < rates.size(); ++i) {
    rates[i] = multiply_rate(loop, kAccumulatorCounts[i], 1);
  }
  return rates;
}

int best_accumulators(const AccumulatorSweep& rates) {
  const auto best = std::max_element(rates.begin(), rates.end());
  return kAccumulatorCounts[static_cast<size_t>(best - rates.begin())];
}

double read_rate(int threads) {
  const int64_t cache_bytes = std::max<int64_t>(sysconf(_SC_LEVEL3_CACHE_SIZE), 16 << 20);
  constexpr size_t kGrain = 4096;
  const size_t share =
      static_cast<size_t>(std::clamp<int64_t>(4 * cache_bytes, 256 << 20, 1 << 30) / threads) /
      kGrain * kGrain;
  const size_t bytes = share * static_cast<size_t>(threads);
  const std::unique_ptr<uint64_t, decltype(&std::free)> buffer(
      static_cast<uint64_t*>(std::aligned_alloc(kGrain, bytes)), &std::free);
  if (buffer == nullptr) {
    return 0;
  }
  const size_t words = share / sizeof(uint64_t);
  // Every thread touches its own share first, so that it lies near it; not zero, as pages of
  // zeros may be one shared page.
#pragma omp parallel num_threads(threads)
  std::fill_n(buffer.get() + static_cast<size_t>(omp_get_thread_num()) * words, words, 1);
  return best_rate(kReadTrials, threads, [&](int thread) {
    const uint64_t sum = sum_words(buffer.get() + static_cast<size_t>(thread) * words, words);
    roof_sink = static_cast<float>(sum);
    return static_cast<double>(share);
  });
}

}  // namespace

CpuRoofs measure_cpu_roofs(int threads) {
  CpuRoofs result;
  result.threads = threads;
  result.float_fma_sweep = sweep(run_float_fma);
  result.bf16_dot_sweep = sweep(run_bf16_dot);
  const int float_best = best_accumulators(result.float_fma_sweep);
  const int bf16_best = best_accumulators(result.bf16_dot_sweep);
  result.float_fma_gflops_1 = multiply_rate(run_float_fma, float_best, 1);
  result.float_fma_gflops_all = multiply_rate(run_float_fma, float_best, threads);
  result.bf16_dot_gflops_1 = multiply_rate(run_bf16_dot, bf16_best, 1);
  result.bf16_dot_gflops_all = multiply_rate(run_bf16_dot, bf16_best, threads);
  result.amx_registers_gflops_1 = multiply_rate(run_amx_registers, 4, 1);
  result.amx_registers_gflops_all = multiply_rate(run_amx_registers, 4, threads);
  result.amx_first_cache_gflops_1 = multiply_rate(run_amx_first_cache, 4, 1);
  result.amx_first_cache_gflops_all = multiply_rate(run_amx_first_cache, 4, threads);
  result.best_accumulators = result.bf16_dot_gflops_1 > 0 ? bf16_best : float_best;
  result.read_gbps_all = read_rate(threads);
  return result;
}

}  // namespace seesaw::lab
