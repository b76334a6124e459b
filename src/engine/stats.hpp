// The counters behind seesaw_stats: relaxed atomics in static memory, a row for each kernel of each
// operation and one for calls that ended before a kernel was chosen. Counting allocates nothing and
// locks nothing.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "boundary/error.hpp"
#include "engine/nvtx.hpp"
#include "engine/plan.hpp"
#include "seesaw/seesaw.h"

namespace seesaw::engine {

enum class StatsFunction : size_t {
  kPlan = SEESAW_STATS_PLAN,
  kPrepare = SEESAW_STATS_PREPARE,
  kRun = SEESAW_STATS_RUN
};

// One call of `function`, from here to finish().
class CountedCall {
 public:
  explicit CountedCall(StatsFunction function) noexcept
      : function_(static_cast<size_t>(function)), begin_(std::chrono::steady_clock::now()) {}

  // Counts the call on `kernel`'s row, null for none, and returns its status.
  seesaw_status finish(const Kernel* kernel, seesaw_status status) const noexcept;

 private:
  size_t function_;
  std::chrono::steady_clock::time_point begin_;
};

// A call at the C boundary: at_boundary, counted, and a range on a profiler's timeline.
template <typename Body>
seesaw_status counted(const char* where, StatsFunction function, const seesaw_plan* plan,
                      Body&& body) noexcept {
  const Kernel* kernel = plan == nullptr ? nullptr : &plan->kernel;
  const NvtxRange range(where, kernel == nullptr ? nullptr : kernel->name);
  const CountedCall call(function);
  return call.finish(kernel, at_boundary(where, body));
}

// What a plan, a schedule and a run add on success.
void count_plan(const seesaw_plan& plan) noexcept;
void count_plan_destroyed(const seesaw_plan& plan) noexcept;
void count_prepare(const seesaw_plan& plan, const void* schedule) noexcept;
void count_run(const seesaw_plan& plan, const void* args) noexcept;

}  // namespace seesaw::engine
