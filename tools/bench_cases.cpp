#include "bench_cases.hpp"

#include <chrono>
#include <memory>
#include <vector>

#include "lab/call.hpp"
#include "lab/synthetic.hpp"

namespace seesaw::tools {
namespace {

constexpr int64_t kFewestRuns = 5;
constexpr int64_t kMostRuns = 100000;

// One set of tensors in memory of its own, and a call on it.
struct Copy {
  Copy(Device& device, const SyntheticCase& source, const DenseDecode& plan)
      : memory(source), call(device, plan, source.problem().d_v, memory.inputs(source)) {
    call.prepare();
    call.run();  // pages touched, threads awake
  }

  SyntheticMemory memory;
  Call call;
};

// Cold: when a copy's turn comes again, twice the cache's size has gone by.
int64_t copies_of(const BenchCase& item, const SyntheticCase& source) {
  if (item.cache == CacheState::kWarm) {
    return 1;
  }
  const auto one = static_cast<int64_t>(source.cache_bytes() + source.q_bytes());
  return 2 * item.cache_size_bytes / one + 2;
}

std::vector<int32_t> lengths_of(const BenchCase& item) {
  return make_lengths(item.lengths, item.problem.batch, item.seed);
}

}  // namespace

void require_plan(const BenchCase& item) {
  seesaw_dense_decode_problem problem = item.problem;
  problem.max_pages_per_sequence = columns_of(lengths_of(item), problem.page_size);
  DenseDecode(problem, item.options);
}

BenchResult measure(Device& device, const BenchCase& item) {
  const SyntheticCase source(item.problem, lengths_of(item), {.seed = item.seed});
  const DenseDecode plan(source.problem(), item.options);
  BenchResult result;
  result.kernel = plan.kernel();
  result.workspace_bytes = plan.workspace_bytes();
  result.work = work_of(source.problem(), source.seq_lens());
  result.copies = copies_of(item, source);
  std::vector<std::unique_ptr<Copy>> copies;
  for (int64_t i = 0; i < result.copies; ++i) {
    copies.push_back(std::make_unique<Copy>(device, source, plan));
  }
  std::vector<double> prepare_us;
  for (int64_t i = 0; i < kFewestRuns; ++i) {
    prepare_us.push_back(device.time_us([&] { copies[0]->call.prepare(); }));
  }
  result.prepare_us = spread_of(prepare_us);
  std::vector<double> run_us;
  const auto start = std::chrono::steady_clock::now();
  std::chrono::duration<double> elapsed{};
  while (result.runs < kFewestRuns || (elapsed.count() < item.seconds && result.runs < kMostRuns)) {
    Call& call = copies[static_cast<size_t>(result.runs % result.copies)]->call;
    run_us.push_back(device.time_us([&] { call.run(); }));
    ++result.runs;
    elapsed = std::chrono::steady_clock::now() - start;
  }
  result.run_us = spread_of(run_us);
  return result;
}

}  // namespace seesaw::tools
