#include "bench_cases.hpp"

#include <chrono>
#include <cmath>
#include <memory>

#include "call.hpp"
#include "synthetic.hpp"

namespace seesaw::tools {
namespace {

constexpr int64_t kFewestRuns = 5;
constexpr int64_t kMostRuns = 100000;

// One set of tensors in memory of its own, and a call on it.
struct Copy {
  Copy(Device& device, const SyntheticCase& source, const DenseDecodeDescriptor& problem,
       const DenseDecode& plan)
      : q(source.q_bytes()), cache(source.cache_bytes()) {
    source.fill_q(q.data());
    source.fill_cache(cache.data());
    const double scale = 1 / std::sqrt(static_cast<double>(problem.d_qk));
    const HostTensors tensors = {q.data(),
                                 cache.data(),
                                 source.num_pages(),
                                 source.block_table().data(),
                                 source.seq_lens().data(),
                                 static_cast<float>(scale)};
    call = std::make_unique<Call>(device, problem, plan, tensors);
    call->schedule();
  }

  AlignedBuffer q;
  AlignedBuffer cache;
  std::unique_ptr<Call> call;
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
  return make_lengths(item.lengths, item.batch, item.shape.seed);
}

DenseDecodeDescriptor problem_of(const BenchCase& item, const std::vector<int32_t>& seq_lens) {
  DenseDecodeDescriptor problem = describe_problem(item.shape, seq_lens);
  problem.device = item.where.device;
  problem.flags = item.where.flags;
  problem.kernel = item.where.kernel;
  problem.num_threads = item.where.num_threads;
  problem.tuning = item.where.tuning;
  return problem;
}

}  // namespace

void require_plan(const BenchCase& item) { DenseDecode(problem_of(item, lengths_of(item))); }

BenchResult measure(Device& device, const BenchCase& item) {
  const SyntheticCase source(item.shape, lengths_of(item));
  BenchResult result;
  result.problem = problem_of(item, source.seq_lens());
  const DenseDecode plan(result.problem);
  result.plan = plan.info();
  result.figures = figures_of(result.problem, source.seq_lens());
  result.copies = copies_of(item, source);
  std::vector<std::unique_ptr<Copy>> copies;
  for (int64_t i = 0; i < result.copies; ++i) {
    copies.push_back(std::make_unique<Copy>(device, source, result.problem, plan));
    copies.back()->call->run();  // pages touched, threads awake
  }
  std::vector<double> schedule_us;
  for (int64_t i = 0; i < kFewestRuns; ++i) {
    schedule_us.push_back(device.time_us([&] { copies[0]->call->schedule(); }));
  }
  result.schedule_us = spread_of(schedule_us);
  std::vector<double> run_us;
  const auto start = std::chrono::steady_clock::now();
  std::chrono::duration<double> elapsed{};
  while (result.runs < kFewestRuns || (elapsed.count() < item.seconds && result.runs < kMostRuns)) {
    Call& call = *copies[static_cast<size_t>(result.runs % result.copies)]->call;
    run_us.push_back(device.time_us([&] { call.run(); }));
    ++result.runs;
    elapsed = std::chrono::steady_clock::now() - start;
  }
  result.run_us = spread_of(run_us);
  return result;
}

}  // namespace seesaw::tools
