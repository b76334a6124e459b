// Micro-benchmarks of cpu.dense_decode: its steps one by one on packed data, and whole runs at the
// shapes of the speed targets. `roof` is the fraction of the machine's own multiply rate, which
// is measured in the same process just before (see roofs.hpp).
//
//   seesaw_cpu_bench --benchmark_filter='run/' --benchmark_counters_tabular=true
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include "base/float16.hpp"
#include "cpu/roof_loops.hpp"
#include "cpu/roofs.hpp"
#include "cpu/select.hpp"
#include "ops/dense_decode/cpu/dense_decode.hpp"
#include "ops/dense_decode/cpu/layout.hpp"
#include "split/split_kv.hpp"

namespace seesaw::bench {
namespace {

constexpr int64_t kDqk = 576;
constexpr int64_t kDv = 512;
constexpr int64_t kPageSize = 64;

const CpuRoofs& roofs() {
  static const CpuRoofs measured =
      measure_cpu_roofs(std::max(1u, std::thread::hardware_concurrency()));
  return measured;
}

double multiply_roof(int threads) {
  const CpuRoofs& c = roofs();
  if (threads > 1) {
    return (c.bf16_dot_gflops_all > 0 ? c.bf16_dot_gflops_all : c.float_fma_gflops_all) *
           std::min(1.0, static_cast<double>(threads) / c.threads);
  }
  return c.bf16_dot_gflops_1 > 0 ? c.bf16_dot_gflops_1 : c.float_fma_gflops_1;
}

struct AlignedFree {
  void operator()(void* p) const { std::free(p); }
};
using Buffer = std::unique_ptr<void, AlignedFree>;

Buffer allocate(size_t bytes) {
  constexpr size_t kGrain = 4096;
  const size_t rounded = (bytes + kGrain - 1) / kGrain * kGrain;
  Buffer buffer(std::aligned_alloc(kGrain, rounded));
  std::memset(buffer.get(), 0, rounded);
  return buffer;
}

void fill_bf16(void* data, int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  auto* values = static_cast<BFloat16*>(data);
  for (int64_t i = 0; i < count; ++i) {
    const float centred = static_cast<float>(static_cast<int>(random() % 2001) - 1000);
    values[i] = from_float<BFloat16>(centred * 2e-4F);
  }
}

TensorView packed_view(void* data, DType dtype, std::initializer_list<int64_t> shape) {
  TensorView view;
  view.data = data;
  view.dtype = dtype;
  view.rank = static_cast<int32_t>(shape.size());
  std::copy(shape.begin(), shape.end(), view.shape.begin());
  int64_t stride = 1;
  for (int32_t i = view.rank - 1; i >= 0; --i) {
    view.stride[static_cast<size_t>(i)] = stride;
    stride *= view.shape[static_cast<size_t>(i)];
  }
  return view;
}

DenseDecodeProblem make_problem(int64_t batch, int64_t h_q, int64_t s_k, int threads) {
  DenseDecodeProblem problem;
  problem.batch = batch;
  problem.h_q = h_q;
  problem.page_size = kPageSize;
  problem.max_pages_per_sequence = (s_k + kPageSize - 1) / kPageSize;
  problem.kv_head_stride = kDqk;
  problem.kv_token_stride = kDqk;
  problem.kv_page_stride = kPageSize * kDqk;
  problem.num_threads = threads;
  return problem;
}

// A whole problem with its tensors: every sequence s_k long, pages in random order.
struct Decode {
  DenseDecodeProblem problem;
  DenseDecodePlan plan;
  DenseDecodeArguments arguments;
  std::vector<int32_t> table, lengths;
  Buffer q, cache, out, lse, schedule, workspace;

  Decode(int64_t batch, int64_t h_q, int64_t s_k, int threads)
      : problem(make_problem(batch, h_q, s_k, threads)), plan(cpu::plan_dense_decode(problem)) {
    const int64_t pages = batch * problem.max_pages_per_sequence;
    table.resize(static_cast<size_t>(pages));
    std::iota(table.begin(), table.end(), 0);
    std::shuffle(table.begin(), table.end(), std::mt19937(7));
    lengths.assign(static_cast<size_t>(batch), static_cast<int32_t>(s_k));
    const auto bytes = [](int64_t elements) { return static_cast<size_t>(elements) * 2; };
    q = allocate(bytes(batch * h_q * kDqk));
    cache = allocate(bytes(pages * kPageSize * kDqk));
    out = allocate(bytes(batch * h_q * kDv));
    lse = allocate(static_cast<size_t>(batch * h_q) * sizeof(float));
    schedule = allocate(split::schedule_bytes(plan.split));
    workspace = allocate(plan.workspace_bytes);
    fill_bf16(q.get(), batch * h_q * kDqk, 1);
    fill_bf16(cache.get(), pages * kPageSize * kDqk, 2);
    split::build_schedule(plan.split, lengths.data(), 1, static_cast<int32_t>(batch),
                          schedule.get());
    arguments.batch = batch;
    arguments.q = packed_view(q.get(), DType::kBFloat16, {batch, 1, h_q, kDqk});
    arguments.kv_cache = packed_view(cache.get(), DType::kBFloat16, {pages, kPageSize, 1, kDqk});
    arguments.block_table =
        packed_view(table.data(), DType::kInt32, {batch, problem.max_pages_per_sequence});
    arguments.seq_lens = packed_view(lengths.data(), DType::kInt32, {batch});
    arguments.out = packed_view(out.get(), DType::kBFloat16, {batch, 1, h_q, kDv});
    arguments.lse = packed_view(lse.get(), DType::kFloat32, {batch, h_q, 1});
    arguments.scale = 1.0F / 24.0F;
    arguments.schedule = schedule.get();
    arguments.workspace = workspace.get();
  }
};

void set_rate(benchmark::State& state, double flops, int threads) {
  const double total = flops * static_cast<double>(state.iterations());
  state.counters["GFLOP/s"] = benchmark::Counter(total * 1e-9, benchmark::Counter::kIsRate);
  state.counters["roof"] =
      benchmark::Counter(total * 1e-9 / multiply_roof(threads), benchmark::Counter::kIsRate);
}

void run(benchmark::State& state) {
  const int64_t h_q = state.range(0), batch = state.range(1), s_k = state.range(2);
  const int threads = static_cast<int>(state.range(3));
  Decode decode(batch, h_q, s_k, threads);
  for (auto _ : state) {
    const Status status = cpu::run_dense_decode(decode.plan, decode.arguments);
    benchmark::DoNotOptimize(status.ok());
  }
  set_rate(state, 2.0 * static_cast<double>(h_q * batch * s_k * (kDqk + kDv)), threads);
  state.counters["KV GB/s"] =
      benchmark::Counter(static_cast<double>(state.iterations() * batch * s_k * kDqk * 2) * 1e-9,
                         benchmark::Counter::kIsRate);
}

// One worker's scratch with one packed chunk, for the steps on their own.
struct Step {
  DenseDecodeProblem problem;
  const cpu::Microkernel& kernel;
  cpu::Geometry geometry;
  Buffer memory, rows;
  cpu::Scratch scratch;
  int64_t vectors;

  explicit Step(int64_t h_q)
      : problem(make_problem(1, h_q, 8192, 1)),
        kernel(cpu::choose_microkernel(problem,
                                       cpu::allowed_target().value_or(cpu::Target::kBaseline))),
        geometry(cpu::make_geometry(problem, kernel)),
        memory(allocate(cpu::scratch_bytes(geometry, kernel))),
        rows(allocate(static_cast<size_t>(std::max(h_q, geometry.chunk_tokens) * kDqk * 2))),
        scratch(cpu::scratch_of(geometry, kernel, memory.get(), 0)),
        vectors((h_q + kernel.lanes - 1) / kernel.lanes) {
    fill_bf16(rows.get(), std::max(h_q, geometry.chunk_tokens) * kDqk, 3);
    pack_query();
    pack_tokens();
    kernel.scores(geometry.packed, score_task());
    std::fill_n(scratch.maximum, vectors * kernel.lanes, 0.0F);
    std::fill_n(scratch.sum, vectors * kernel.lanes, 1.0F);
    softmax();
  }

  cpu::PackedTokens tokens() const {
    return {scratch.keys, scratch.values, scratch.in_place, geometry.chunk_tokens};
  }
  cpu::ScoreTask score_task() const { return {scratch.query, tokens(), vectors, scratch.scores}; }
  void pack_query() {
    for (int64_t v = 0; v < vectors; ++v) {
      const void* pointers[cpu::kMaxLanes] = {};
      for (int64_t lane = 0; lane < std::min(kernel.lanes, problem.h_q - v * kernel.lanes);
           ++lane) {
        pointers[lane] = static_cast<BFloat16*>(rows.get()) + (v * kernel.lanes + lane) * kDqk;
      }
      kernel.pack_query(geometry.packed, pointers, DType::kBFloat16,
                        scratch.query + v * geometry.packed.query_vector_stride);
    }
  }
  void pack_tokens() {
    cpu::PackedTokens packed{scratch.keys, scratch.values, scratch.in_place, 0};
    for (int64_t begin = 0; begin < geometry.chunk_tokens; begin += cpu::kTileKeys) {
      const auto* first = static_cast<const BFloat16*>(rows.get()) + begin * kDqk;
      const cpu::TokenRun run{first, kDqk * 2, cpu::kTileKeys};
      const bool in_place = kernel.reads_in_place(geometry.packed, run);
      scratch.in_place[begin / cpu::kTileKeys] = in_place ? first : nullptr;
      if (!in_place) {
        kernel.pack_keys(geometry.packed, run, DType::kBFloat16, begin, packed.keys);
      }
      packed.count = begin + cpu::kTileKeys;
      kernel.pack_values(geometry.packed, packed, begin);
    }
  }
  void softmax() {
    for (int64_t v = 0; v < vectors; ++v) {
      const int64_t lane = v * kernel.lanes;
      kernel.softmax({scratch.scores + v * geometry.packed.score_vector_stride,
                      scratch.weights + v * geometry.packed.weight_vector_stride,
                      geometry.chunk_tokens, nullptr, 0.06F, scratch.maximum + lane,
                      scratch.sum + lane, scratch.rescale + lane});
    }
  }
  void accumulate() {
    kernel.accumulate(geometry.packed, {scratch.weights,
                                        scratch.values,
                                        geometry.chunk_tokens,
                                        0,
                                        problem.h_q,
                                        scratch.rescale,
                                        scratch.output,
                                        cpu::Accumulators::kContinue,
                                        nullptr,
                                        {}});
  }
};

void set_per_token(benchmark::State& state, const Step& step) {
  state.counters["ns/token"] = benchmark::Counter(
      static_cast<double>(state.iterations() * step.geometry.chunk_tokens) * 1e-9,
      benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void pack_query(benchmark::State& state) {
  Step step(state.range(0));
  for (auto _ : state) {
    step.pack_query();
    benchmark::ClobberMemory();
  }
}

void pack_tokens(benchmark::State& state) {
  Step step(state.range(0));
  for (auto _ : state) {
    step.pack_tokens();
    benchmark::ClobberMemory();
  }
  set_per_token(state, step);
}

void scores(benchmark::State& state) {
  Step step(state.range(0));
  for (auto _ : state) {
    step.kernel.scores(step.geometry.packed, step.score_task());
    benchmark::ClobberMemory();
  }
  set_per_token(state, step);
  set_rate(state, 2.0 * static_cast<double>(state.range(0) * step.geometry.chunk_tokens * kDqk), 1);
}

void softmax(benchmark::State& state) {
  Step step(state.range(0));
  for (auto _ : state) {
    step.softmax();
    benchmark::ClobberMemory();
  }
  set_per_token(state, step);
}

void accumulate(benchmark::State& state) {
  Step step(state.range(0));
  for (auto _ : state) {
    step.accumulate();
    benchmark::ClobberMemory();
  }
  set_per_token(state, step);
  set_rate(state, 2.0 * static_cast<double>(state.range(0) * step.geometry.chunk_tokens * kDv), 1);
}

// The multiply instruction alone, from registers, for as long as the runs between which it is
// timed: what these threads are given by the machine at that moment. The roofs above are its
// best.
void multiply(benchmark::State& state) {
  const int threads = static_cast<int>(state.range(0));
  const auto loop = roofs().bf16_dot_gflops_1 > 0 ? run_bf16_dot : run_float_fma;
  constexpr int64_t kSteps = 200000;  // half a millisecond
  double flops = 0;
  for (auto _ : state) {
#pragma omp parallel num_threads(threads) reduction(+ : flops)
    flops += loop(roofs().best_accumulators, kSteps);
  }
  set_rate(state, flops / static_cast<double>(state.iterations()), threads);
}

void add_roofs() {
  const CpuRoofs& c = roofs();
  const auto number = [](double value) { return std::to_string(value); };
  benchmark::AddCustomContext("microkernel", cpu::microkernel_name());
  benchmark::AddCustomContext("bf16_dot_gflops_1", number(c.bf16_dot_gflops_1));
  benchmark::AddCustomContext("bf16_dot_gflops_all", number(c.bf16_dot_gflops_all));
  benchmark::AddCustomContext("float_fma_gflops_1", number(c.float_fma_gflops_1));
  benchmark::AddCustomContext("float_fma_gflops_all", number(c.float_fma_gflops_all));
  benchmark::AddCustomContext("read_gbps_all", number(c.read_gbps_all));
  for (size_t i = 0; i < kAccumulatorCounts.size(); ++i) {
    benchmark::AddCustomContext(
        "bf16_dot_gflops_1_with_" + std::to_string(kAccumulatorCounts[i]) + "_accumulators",
        number(c.bf16_dot_sweep[i]));
  }
}

}  // namespace
}  // namespace seesaw::bench

int main(int argc, char** argv) {
  using namespace seesaw::bench;
  const int64_t threads = roofs().threads;
  constexpr std::pair<const char*, void (*)(benchmark::State&)> kSteps[] = {
      {"pack_query", pack_query},
      {"pack_tokens", pack_tokens},
      {"scores", scores},
      {"softmax", softmax},
      {"accumulate", accumulate}};
  for (const auto& [name, step] : kSteps) {
    benchmark::RegisterBenchmark(name, step)->ArgName("h_q")->Arg(16)->Arg(64)->Arg(128);
  }
  auto* runs = benchmark::RegisterBenchmark("run", run)
                   ->ArgNames({"h_q", "b", "s_k", "threads"})
                   ->UseRealTime()
                   ->Unit(benchmark::kMicrosecond);
  auto* multiplies = benchmark::RegisterBenchmark("multiply", multiply)
                         ->ArgName("threads")
                         ->UseRealTime()
                         ->Unit(benchmark::kMicrosecond)
                         ->Arg(1);
  if (threads > 1) {
    multiplies->Arg(threads);
  }
  for (int64_t h_q : {128, 16}) {
    for (int64_t batch : {1, 8}) {
      for (int64_t s_k : {1024, 8192}) {
        runs->Args({h_q, batch, s_k, 1});
        if (threads > 1) {
          runs->Args({h_q, batch, s_k, threads});
        }
      }
    }
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) {
    return 1;
  }
  add_roofs();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
