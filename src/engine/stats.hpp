// The counters behind seesaw_stats: relaxed atomics in static memory, a row for each kernel and one
// for calls that ended before a kernel was chosen. Counting allocates nothing and locks nothing.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "engine/nvtx.hpp"
#include "boundary/error.hpp"
#include "ops/dense_decode/plan.hpp"
#include "ops/dense_decode/problem.hpp"
#include "ops/dense_decode/operation.hpp"
#include "seesaw/seesaw.h"

namespace seesaw::engine {

enum class StatsFunction : size_t {
  kPlan = SEESAW_STATS_PLAN,
  kSchedule = SEESAW_STATS_SCHEDULE,
  kRun = SEESAW_STATS_RUN
};

using Counter = std::atomic<uint64_t>;

// The fields of seesaw_stats. Rows of kernels that run side by side share no cache line.
struct alignas(64) StatsRow {
  std::array<std::array<Counter, SEESAW_STATS_STATUSES>, SEESAW_STATS_FUNCTIONS> calls{};
  std::array<Counter, SEESAW_STATS_FUNCTIONS> nanoseconds{};
  Counter sequences{0};
  Counter tensor_bytes{0};
  Counter kv_bytes_planned{0};
  Counter kv_tokens{0};
  Counter kv_bytes{0};
  Counter pieces{0};
  Counter split_sequences{0};
  Counter partials{0};
  Counter plans{0};
  Counter workspace_bytes{0};
};

// The row of a kernel of the registry; of calls without one for null.
StatsRow& stats_row(const engine::DenseDecodeKernel* kernel) noexcept;

// One call of `function`, from here to finish().
class CountedCall {
 public:
  explicit CountedCall(StatsFunction function) noexcept
      : function_(static_cast<size_t>(function)), begin_(std::chrono::steady_clock::now()) {}

  // Counts the call on `kernel`'s row, null for none, and returns its status.
  seesaw_status finish(const engine::DenseDecodeKernel* kernel,
                       seesaw_status status) const noexcept;

 private:
  size_t function_;
  std::chrono::steady_clock::time_point begin_;
};

// A call at the C boundary: at_boundary, counted, and a range on a profiler's timeline.
template <typename Body>
seesaw_status counted(const char* where, StatsFunction function,
                      const engine::DenseDecodeKernel* kernel, Body&& body) noexcept {
  const NvtxRange range(where, kernel == nullptr ? nullptr : kernel->name);
  const CountedCall call(function);
  return call.finish(kernel, at_boundary(where, body));
}

// What a plan, a schedule and a run add on success.
void count_plan(const engine::DenseDecodeKernel& kernel, const DenseDecodePlan& plan) noexcept;
void count_plan_destroyed(const engine::DenseDecodeKernel& kernel) noexcept;
void count_schedule(const engine::DenseDecodeKernel& kernel, const DenseDecodePlan& plan,
                    const void* schedule) noexcept;
void count_run(const engine::DenseDecodeKernel& kernel, const DenseDecodePlan& plan,
               const DenseDecodeArguments& arguments) noexcept;

}  // namespace seesaw::engine
