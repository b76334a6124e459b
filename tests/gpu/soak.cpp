// The soak of the GPU: lanes of random shapes, each a thread with a stream and a captured graph
// that schedules and runs two layers. Lengths grow from replay to replay; when a lane is over, the
// next has another shape. Results are held against the reference now and then.
//   seesaw_gpu_soak --minutes 10 --seed 1 --threads 2 --record FILE
// Without a GPU it says so and exits with 77.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>

#include "dense_case.hpp"
#include "graph.hpp"
#include "lab/random.hpp"
#include "soak/soak.hpp"

namespace seesaw::gpu_test {
namespace {

using Clock = std::chrono::steady_clock;
using soak::Totals;

constexpr int kReplaysOfALane = 64;
constexpr int kReplaysBetweenComparisons = 8;
constexpr int32_t kTokensOfAReplay = 97;  // what a sequence grows by

// All of one kernel: its counters are held against what was done.
DenseCase random_case(lab::Random& random) {
  constexpr int64_t kHeads[] = {8, 16, 32, 64, 128};
  DenseCase c;
  c.b = random.between(1, 24);
  c.s_q = random.between(1, 3);
  c.s_k = random.between(500, 6000);
  c.h_q = kHeads[random.between(0, 4)];
  c.lengths = Lengths::kVaried;
  c.flags = (random.between(0, 1) == 1 ? uint32_t{kCausal} : 0U) |
            (random.between(0, 3) == 3 ? uint32_t{kBatchInvariant} : 0U);
  c.spare_pages = c.b * ((c.s_k + c.page_size - 1) / c.page_size);  // for any lengths
  c.seed = random.bits() % 1000;
  return c;
}

// Every sequence one step on; one that would be too long begins again.
void grow(const DenseCase& c, lab::Random& random, std::vector<int32_t>* lengths) {
  for (int32_t& length : *lengths) {
    length = length + kTokensOfAReplay <= c.s_k
                 ? length + kTokensOfAReplay
                 : static_cast<int32_t>(random.between(0, c.s_k / 2));
  }
}

void compare(DenseRun& run, const DenseCase& c, Totals* totals) {
  const std::string wrong = verdict(c, run.compare());
  if (!wrong.empty()) {
    throw std::runtime_error("soak: " + wrong);
  }
  ++totals->compared;
}

// Two layers, in one graph: one schedule and two runs that are counted, once, when it is captured.
Totals lane(lab::Random& random, Clock::time_point end) {
  const DenseCase c = random_case(random);
  std::vector<int32_t> lengths = make_lengths(c);
  Totals totals;
  DenseRun run;
  run.prepare(c, lengths);
  run.plan();
  const Graph graph(run.stream(), [&] {
    run.schedule();
    run.run();
    run.run();
  });
  totals.plans = 1;
  totals.prepares = 1;
  totals.runs = 2;
  totals.sequences = 2 * lengths.size();
  for (int i = 0; i < kReplaysOfALane && Clock::now() < end; ++i) {
    run.poison_results();
    graph.replay();
    ++totals.replays;
    if (i % kReplaysBetweenComparisons == 0) {
      compare(run, c, &totals);
    }
    run.stream().wait();
    grow(c, random, &lengths);
    run.change_lengths(lengths);
  }
  return totals;
}

soak::Memory memory_of_both() {
  soak::Memory memory = soak::host_memory();
  size_t free_bytes = 0;
  size_t all_bytes = 0;
  must(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  must(cudaMemGetInfo(&free_bytes, &all_bytes), "cudaMemGetInfo");
  memory.device = all_bytes - free_bytes;
  return memory;
}

// Of the plan that a case like the lanes' gets: the kernel whose counters are watched.
std::string kernel_in_use() {
  DenseRun run;
  const DenseCase c;
  run.prepare(c);
  run.plan();
  return run.decode().kernel();
}

int soak_gpu(const soak::Flags& flags) {
  const std::string kernel = kernel_in_use();
  const auto epoch = [&](uint64_t number, double seconds) {
    const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                        std::chrono::duration<double>(seconds));
    return soak::on_threads(flags.threads, [&](int32_t thread) {
      lab::Random random(lab::mix(flags.seed, lab::mix(number, static_cast<uint64_t>(thread))));
      Totals totals;
      while (Clock::now() < end) {
        totals += lane(random, end);
      }
      return totals;
    });
  };
  return run_soak(
      {.name = "soak", .kernel = kernel.c_str(), .run = epoch, .memory = memory_of_both}, flags);
}

}  // namespace
}  // namespace seesaw::gpu_test

int main(int argc, char** argv) {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0) {
    std::cout << "no GPU to soak: " << cudaGetErrorString(error) << "\n";
    return 77;
  }
  try {
    return seesaw::gpu_test::soak_gpu(seesaw::soak::parse_flags(argc, argv));
  } catch (const std::exception& failure) {
    std::cerr << failure.what() << "\n";
    return 2;
  }
}
