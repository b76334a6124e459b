#include "engine/stats.hpp"

#include "base/message.hpp"
#include "boundary/sized.hpp"

namespace seesaw::engine {
namespace {

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

// Static, without constructors or destructors: calls may come before main and after it.
constinit std::array<StatsRow, kMaxKernels + 1> rows{};

size_t num_kernels() noexcept {
  size_t count = 0;
  for (const Operation* operation : operations()) {
    count += operation->kernels.size();
  }
  return count;
}

// Where a kernel stands in the list of all; past the end for null.
size_t index_of(const Kernel* kernel) noexcept {
  size_t before = 0;
  for (const Operation* operation : operations()) {
    const Kernel* first = operation->kernels.data();
    if (kernel >= first && kernel < first + operation->kernels.size()) {
      return before + static_cast<size_t>(kernel - first);
    }
    before += operation->kernels.size();
  }
  return before;
}

StatsRow& row_of(const Kernel* kernel) noexcept { return rows[index_of(kernel)]; }

void add(Counter& counter, uint64_t amount) noexcept {
  if (amount != 0) {  // a locked addition costs more than the branch
    counter.fetch_add(amount, std::memory_order_relaxed);
  }
}

void raise_to(Counter& counter, uint64_t amount) noexcept {
  uint64_t seen = counter.load(std::memory_order_relaxed);
  while (seen < amount && !counter.compare_exchange_weak(seen, amount, std::memory_order_relaxed)) {
  }
}

uint64_t value(const Counter& counter) noexcept { return counter.load(std::memory_order_relaxed); }

seesaw_stats snapshot(uint64_t index) noexcept {
  seesaw_stats stats{};
  stats.operation = "none";
  stats.kernel = "none";
  uint64_t before = 0;
  for (const Operation* operation : operations()) {
    if (index >= before && index - before < operation->kernels.size()) {
      const Kernel& kernel = operation->kernels[index - before];
      stats.operation = operation->name;
      stats.kernel = kernel.name;
      stats.lengths_known = kernel.device == SEESAW_CPU ? 1 : 0;
    }
    before += operation->kernels.size();
  }
  const StatsRow& row = rows[index];
  for (size_t function = 0; function < SEESAW_STATS_FUNCTIONS; ++function) {
    stats.nanoseconds[function] = value(row.nanoseconds[function]);
    for (size_t status = 0; status < SEESAW_STATS_STATUSES; ++status) {
      stats.calls[function][status] = value(row.calls[function][status]);
    }
  }
  stats.sequences = value(row.sequences);
  stats.tensor_bytes = value(row.tensor_bytes);
  stats.kv_bytes_planned = value(row.kv_bytes_planned);
  stats.kv_tokens = value(row.kv_tokens);
  stats.kv_bytes = value(row.kv_bytes);
  stats.pieces = value(row.pieces);
  stats.split_sequences = value(row.split_sequences);
  stats.partials = value(row.partials);
  stats.plans = value(row.plans);
  stats.workspace_bytes = value(row.workspace_bytes);
  return stats;
}

Status get(uint64_t index, seesaw_stats* stats) {
  if (index > num_kernels()) {
    return invalid_argument(four_part_message("stats_get", fmt::format("index = {}", index),
                                              fmt::format("0 to {}", num_kernels()),
                                              "Ask seesaw_stats_count for the number of rows."));
  }
  return write_sized("stats_get", "stats", snapshot(index), stats);
}

struct PieceCounts {
  uint64_t pieces = 0;
  uint64_t split_sequences = 0;
  uint64_t partials = 0;
};

void count_piece(void* context, const seesaw_piece& piece) {
  PieceCounts& counts = *static_cast<PieceCounts*>(context);
  counts.pieces += 1;
  counts.partials += piece.partial >= 0 ? 1 : 0;
  counts.split_sequences += piece.partial >= 0 && piece.tile_begin == 0 ? 1 : 0;
}

}  // namespace

seesaw_status CountedCall::finish(const Kernel* kernel, seesaw_status status) const noexcept {
  const auto elapsed = std::chrono::steady_clock::now() - begin_;
  StatsRow& row = row_of(kernel);
  add(row.calls[function_][static_cast<size_t>(status)], 1);
  add(row.nanoseconds[function_], static_cast<uint64_t>(std::chrono::nanoseconds(elapsed).count()));
  return status;
}

void count_plan(const seesaw_plan& plan) noexcept {
  StatsRow& row = row_of(&plan.kernel);
  add(row.plans, 1);
  raise_to(row.workspace_bytes, plan.planned->workspace_bytes);
}

void count_plan_destroyed(const seesaw_plan& plan) noexcept {
  row_of(&plan.kernel).plans.fetch_sub(1, std::memory_order_relaxed);
}

void count_prepare(const seesaw_plan& plan, const void* schedule) noexcept {
  if (!on_cpu(plan.options.device) || plan.kernel.pieces == nullptr) {
    return;  // the schedule lies on the device and may not even be made yet
  }
  PieceCounts counts;
  if (!plan.kernel.pieces(*plan.planned, schedule, {count_piece, &counts}).ok()) {
    return;
  }
  StatsRow& row = row_of(&plan.kernel);
  add(row.pieces, counts.pieces);
  add(row.split_sequences, counts.split_sequences);
  add(row.partials, counts.partials);
}

void count_run(const seesaw_plan& plan, const void* args) noexcept {
  const Work work = plan.operation.work(plan.problem.get(), plan.options, args);
  StatsRow& row = row_of(&plan.kernel);
  add(row.sequences, work.sequences);
  add(row.tensor_bytes, work.tensor_bytes);
  add(row.kv_bytes_planned, work.kv_bytes_planned);
  add(row.kv_tokens, work.kv_tokens);
  add(row.kv_bytes, work.kv_bytes);
}

}  // namespace seesaw::engine

extern "C" {

uint64_t seesaw_stats_count(void) { return seesaw::engine::num_kernels() + 1; }

seesaw_status seesaw_stats_get(uint64_t index, seesaw_stats* stats) {
  return seesaw::at_boundary("stats_get", [&] { return seesaw::engine::get(index, stats); });
}

}  // extern "C"
