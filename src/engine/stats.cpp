#include "engine/stats.hpp"

#include <algorithm>

#include "base/message.hpp"
#include "boundary/sized.hpp"
#include "split/split_kv.hpp"

namespace seesaw::engine {
namespace {

// Static, without constructors or destructors: calls may come before main and after it.
constinit std::array<StatsRow, engine::kMaxDenseDecodeKernels + 1> rows{};

size_t num_kernels() noexcept { return engine::dense_decode_kernels().size(); }

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

// Lengths in host memory, as the contract counts them.
uint64_t sum_of_lengths(const TensorView& seq_lens) noexcept {
  const auto* lengths = static_cast<const int32_t*>(seq_lens.data);
  uint64_t tokens = 0;
  for (int64_t i = 0; i < seq_lens.shape[0]; ++i) {
    tokens += static_cast<uint64_t>(std::max(lengths[i * seq_lens.stride[0]], 0));
  }
  return tokens;
}

seesaw_stats snapshot(const engine::DenseDecodeKernel* kernel) noexcept {
  const StatsRow& row = stats_row(kernel);
  seesaw_stats stats = {};
  stats.struct_size = sizeof(stats);
  stats.operation = "dense_decode";
  stats.kernel = kernel == nullptr ? "none" : kernel->name;
  stats.lengths_known = kernel != nullptr && engine::runs_on_host(*kernel) ? 1 : 0;
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
  const auto kernels = engine::dense_decode_kernels();
  return write_sized("stats_get", "stats",
                     snapshot(index < kernels.size() ? &kernels[index] : nullptr), stats);
}

}  // namespace

StatsRow& stats_row(const engine::DenseDecodeKernel* kernel) noexcept {
  const auto kernels = engine::dense_decode_kernels();
  return rows[kernel == nullptr ? kernels.size() : static_cast<size_t>(kernel - kernels.data())];
}

seesaw_status CountedCall::finish(const engine::DenseDecodeKernel* kernel,
                                  seesaw_status status) const noexcept {
  const auto elapsed = std::chrono::steady_clock::now() - begin_;
  StatsRow& row = stats_row(kernel);
  add(row.calls[function_][static_cast<size_t>(status)], 1);
  add(row.nanoseconds[function_], static_cast<uint64_t>(std::chrono::nanoseconds(elapsed).count()));
  return status;
}

void count_plan(const engine::DenseDecodeKernel& kernel, const DenseDecodePlan& plan) noexcept {
  StatsRow& row = stats_row(&kernel);
  add(row.plans, 1);
  raise_to(row.workspace_bytes, plan.workspace_bytes);
}

void count_plan_destroyed(const engine::DenseDecodeKernel& kernel) noexcept {
  stats_row(&kernel).plans.fetch_sub(1, std::memory_order_relaxed);
}

void count_schedule(const engine::DenseDecodeKernel& kernel, const DenseDecodePlan& plan,
                    const void* schedule) noexcept {
  if (!engine::runs_on_host(kernel)) {
    return;  // the schedule lies on the device and may not even be made yet
  }
  // Read only; the view's pointers are mutable because the builder shares it.
  const split::ScheduleView view = split::schedule_view(const_cast<void*>(schedule), plan.split);
  uint64_t split_sequences = 0;
  uint64_t partials = 0;
  for (int32_t i = 0; i < view.header->batch; ++i) {
    const int32_t pieces = view.item_piece_begin[i + 1] - view.item_piece_begin[i];
    split_sequences += pieces > 1 ? 1 : 0;
    partials += pieces > 1 ? static_cast<uint64_t>(pieces) : 0;
  }
  StatsRow& row = stats_row(&kernel);
  add(row.pieces, static_cast<uint64_t>(view.header->num_pieces));
  add(row.split_sequences, split_sequences);
  add(row.partials, partials);
}

void count_run(const engine::DenseDecodeKernel& kernel, const DenseDecodePlan& plan,
               const DenseDecodeArguments& arguments) noexcept {
  // Unsigned, so that a product beyond 2^64 wraps; no memory holds that many bytes.
  const auto number = [](int64_t size) { return static_cast<uint64_t>(size); };
  const DenseDecodeProblem& p = plan.problem;
  const uint64_t batch = number(arguments.batch);
  const uint64_t query_rows = batch * number(p.s_q * p.h_q);
  const uint64_t row_bytes = number(p.d_qk + p.d_v) * number(size_of(p.q_dtype)) +
                             (arguments.lse.data == nullptr ? 0 : sizeof(float));
  const uint64_t token_bytes = number(p.h_kv * p.d_qk) * number(size_of(p.kv_dtype));
  StatsRow& row = stats_row(&kernel);
  add(row.sequences, batch);
  add(row.tensor_bytes, query_rows * row_bytes);
  add(row.kv_bytes_planned, batch * number(p.max_tokens()) * token_bytes);
  if (engine::runs_on_host(kernel)) {
    const uint64_t tokens = sum_of_lengths(arguments.seq_lens);
    add(row.kv_tokens, tokens);
    add(row.kv_bytes, tokens * token_bytes);
  }
}

}  // namespace seesaw::engine

extern "C" {

uint64_t seesaw_stats_count(void) { return seesaw::engine::num_kernels() + 1; }

seesaw_status seesaw_stats_get(uint64_t index, seesaw_stats* stats) {
  return seesaw::at_boundary("stats_get", [&] { return seesaw::engine::get(index, stats); });
}

}  // extern "C"
