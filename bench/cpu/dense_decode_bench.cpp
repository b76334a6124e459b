// Micro-benchmarks of cpu.dense_decode: its steps one by one on packed data, and whole runs at the
// shapes of the speed targets. `roof` is the fraction of the machine's own multiply rate, which
// is measured in the same process just before (lab/roofs).
//
//   seesaw_cpu_bench --benchmark_filter='run/' --benchmark_counters_tabular=true
//
// formats/NAME/...: the same runs on quantised caches, interleaved with those on bf16:
//
//   seesaw_cpu_bench --benchmark_filter='formats/' --benchmark_min_time=0.1
//       --benchmark_repetitions=15 --benchmark_enable_random_interleaving=true
//       --benchmark_out=record.json
#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "attention/cpu/layout.hpp"
#include "base/float16.hpp"
#include "core/cache_format.hpp"
#include "cpu/select.hpp"
#include "lab/cache_records.hpp"
#include "lab/call.hpp"
#include "lab/elements.hpp"
#include "lab/random.hpp"
#include "lab/roofs/cpu_loops.hpp"
#include "lab/roofs/cpu_roofs.hpp"
#include "lab/synthetic.hpp"
#include "lab/values.hpp"
#include "ops/dense_decode/attention.hpp"

namespace seesaw::bench {
namespace {

using namespace lab;
namespace cpu = attention::cpu;

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
    const double all = c.amx_first_cache_gflops_all > 0
                           ? c.amx_first_cache_gflops_all
                           : std::max(c.bf16_dot_gflops_all, c.float_fma_gflops_all);
    return all * std::min(1.0, static_cast<double>(threads) / c.threads);
  }
  return c.amx_first_cache_gflops_1 > 0 ? c.amx_first_cache_gflops_1
                                        : std::max(c.bf16_dot_gflops_1, c.float_fma_gflops_1);
}

// Zeros, so that no page of it is new to the system when it is timed.
AlignedBuffer zeros(size_t bytes) {
  AlignedBuffer buffer(bytes);
  std::memset(buffer.data(), 0, bytes);
  return buffer;
}

dense_decode::DenseDecodeProblem make_problem(int64_t batch, int64_t h_q,
                                              int32_t kv_format = SEESAW_FORMAT_BFLOAT16) {
  const CacheFormat format = cache_format(kv_format, kDqk);
  const int64_t token = token_elements(format);
  return {{.q_dtype = SEESAW_BFLOAT16,
           .kv_format = kv_format,
           .batch = batch,
           .s_q = 1,
           .h_q = h_q,
           .h_kv = 1,
           .d_qk = kDqk,
           .d_v = kDv,
           .page_size = kPageSize,
           .max_pages_per_sequence = 1,
           .kv_page_stride = format.page_bytes(kPageSize) / size_of(storage_of(kv_format)),
           .kv_token_stride = token,
           .kv_head_stride = token}};
}

// A whole call: every sequence s_k long, pages in random order.
struct Decode {
  SyntheticCase source;
  SyntheticMemory memory;
  DenseDecode plan;
  std::unique_ptr<lab::Device> device;
  lab::Call call;

  Decode(int64_t batch, int64_t h_q, int64_t s_k, int threads,
         int32_t kv_format = SEESAW_FORMAT_BFLOAT16)
      : source(make_problem(batch, h_q, kv_format),
               std::vector<int32_t>(static_cast<size_t>(batch), static_cast<int32_t>(s_k)),
               {.seed = 7}),
        memory(source),
        plan(source.problem(),
             {.num_threads = threads, .kernel = "cpu.dense_decode", .tuning = "none"}),
        device(open_device(kCpu)),
        call(*device, plan, kDv, memory.inputs(source)) {
    call.prepare();
  }
};

void set_rate(benchmark::State& state, double flops, int threads) {
  const double total = flops * static_cast<double>(state.iterations());
  state.counters["GFLOP/s"] = benchmark::Counter(total * 1e-9, benchmark::Counter::kIsRate);
  state.counters["roof"] =
      benchmark::Counter(total * 1e-9 / multiply_roof(threads), benchmark::Counter::kIsRate);
}

// Made once: a quantised cache takes longer to write than to read.
Decode& decode_of(const std::array<int64_t, 4>& shape, int threads) {
  static std::map<std::pair<std::array<int64_t, 4>, int>, std::unique_ptr<Decode>> made;
  std::unique_ptr<Decode>& decode = made[{shape, threads}];
  if (decode == nullptr) {
    decode = std::make_unique<Decode>(shape[1], shape[2], shape[3], threads,
                                      static_cast<int32_t>(shape[0]));
  }
  return *decode;
}

void run(benchmark::State& state, int32_t kv_format) {
  const int64_t h_q = state.range(0), batch = state.range(1), s_k = state.range(2);
  const int threads = static_cast<int>(state.range(3));
  Decode& decode = decode_of({kv_format, batch, h_q, s_k}, threads);
  for (auto _ : state) {
    decode.call.run();
  }
  set_rate(state, 2.0 * static_cast<double>(h_q * batch * s_k * (kDqk + kDv)), threads);
  state.counters["KV GB/s"] = benchmark::Counter(
      static_cast<double>(state.iterations() * batch * s_k * token_bytes(kv_format, kDqk)) * 1e-9,
      benchmark::Counter::kIsRate);
}

// One worker's scratch with one packed chunk, for the steps on their own.
struct Step {
  dense_decode::DenseDecodeProblem problem;
  const cpu::Microkernel& kernel;
  cpu::Geometry geometry;
  AlignedBuffer memory;
  std::vector<BFloat16> rows;
  cpu::Scratch scratch;
  int64_t vectors;
  cpu::InUse in_use{kernel};

  explicit Step(int64_t h_q)
      : problem(make_problem(1, h_q)),
        kernel(cpu::choose_microkernel(problem.q_type(), problem.kv_type(),
                                       cpu::choose_target().value_or(cpu::TargetChoice{}).target)),
        geometry(cpu::make_geometry(dense_decode::attention_of(problem), kernel)),
        memory(zeros(cpu::scratch_bytes(geometry, kernel))),
        rows(static_cast<size_t>(std::max(h_q, geometry.chunk_tokens) * kDqk)),
        scratch(cpu::scratch_of(geometry, kernel, memory.data(), 0)),
        vectors((h_q + kernel.lanes - 1) / kernel.lanes) {
    for (size_t i = 0; i < rows.size(); ++i) {
      rows[i] = from_float<BFloat16>(draw(Values::kSuite, mix(i)));
    }
    pack_query();
    pack_tokens();
    kernel.scores(geometry.packed, score_task());
    std::fill_n(scratch.maximum, vectors * kernel.lanes, 0.0F);
    std::fill_n(scratch.sum, vectors * kernel.lanes, 1.0F);
    softmax();
  }

  cpu::PackedTokens tokens() const {
    return {scratch.keys, scratch.values, scratch.in_place, geometry.chunk_tokens, kDqk * 2};
  }
  cpu::ScoreTask score_task() const {
    return {scratch.query, tokens(), vectors, scratch.scores, {}};
  }
  void pack_query() {
    for (int64_t v = 0; v < vectors; ++v) {
      const void* pointers[cpu::kMaxLanes] = {};
      for (int64_t lane = 0; lane < std::min(kernel.lanes, problem.h_q - v * kernel.lanes);
           ++lane) {
        pointers[lane] = rows.data() + (v * kernel.lanes + lane) * kDqk;
      }
      kernel.pack_query(geometry.packed, pointers, DType::kBFloat16,
                        scratch.query + v * geometry.packed.query_vector_stride);
    }
  }
  void pack_tokens() {
    cpu::PackedTokens packed{scratch.keys, scratch.values, scratch.in_place, 0, kDqk * 2};
    for (int64_t begin = 0; begin < geometry.chunk_tokens; begin += cpu::kTileKeys) {
      const auto* first = rows.data() + begin * kDqk;
      const cpu::TokenRun run{first, kDqk * 2, cpu::kTileKeys};
      const bool in_place = kernel.reads_in_place(geometry.packed, run);
      scratch.in_place[begin / cpu::kTileKeys] = in_place ? first : nullptr;
      if (!in_place) {
        kernel.pack_keys(geometry.packed, run, DType::kBFloat16, begin, packed.keys);
      }
      packed.count = begin + cpu::kTileKeys;
      if (packed.count % kernel.value_tokens == 0) {
        kernel.pack_values(geometry.packed, packed, packed.count - kernel.value_tokens);
      }
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

// A chunk of a quantised cache, converted: what stands for pack_tokens there.
void pack_records(benchmark::State& state, int32_t kv_format) {
  Step step(state.range(0));
  const CacheFormat format = cache_format(kv_format, kDqk);
  const int64_t tokens = step.geometry.chunk_tokens;
  const SyntheticCase source(make_problem(1, 1, kv_format), {static_cast<int32_t>(tokens)},
                             {.seed = 7});
  const SyntheticMemory memory(source);
  const auto* cache = static_cast<const std::byte*>(memory.inputs(source).kv_cache.data);
  for (auto _ : state) {
    for (int64_t begin = 0; begin < tokens; begin += cpu::kTileKeys) {
      const std::byte* page = cache + begin / kPageSize * format.page_bytes(kPageSize);
      step.kernel.pack_records(
          step.geometry.packed, format,
          {record_at(format, page, kPageSize, format.row_bytes, begin % kPageSize),
           format.row_bytes, cpu::kTileKeys},
          begin, step.scratch.keys);
    }
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
  const CpuRoofs& c = roofs();
  const auto loop = c.amx_first_cache_gflops_1 > 0               ? run_amx_first_cache
                    : c.bf16_dot_gflops_1 > c.float_fma_gflops_1 ? run_bf16_dot
                                                                 : run_float_fma;
  constexpr int64_t kSteps = 200000;  // half a millisecond
  double flops = 0;
  for (auto _ : state) {
#pragma omp parallel num_threads(threads) reduction(+ : flops)
    flops += loop(c.best_accumulators, kSteps);
  }
  set_rate(state, flops / static_cast<double>(state.iterations()), threads);
}

void add_roofs() {
  const CpuRoofs& c = roofs();
  const auto number = [](double value) { return std::to_string(value); };
  benchmark::AddCustomContext("microkernel", cpu::microkernel_name());
  benchmark::AddCustomContext("amx_registers_gflops_1", number(c.amx_registers_gflops_1));
  benchmark::AddCustomContext("amx_registers_gflops_all", number(c.amx_registers_gflops_all));
  benchmark::AddCustomContext("amx_first_cache_gflops_1", number(c.amx_first_cache_gflops_1));
  benchmark::AddCustomContext("amx_first_cache_gflops_all", number(c.amx_first_cache_gflops_all));
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
  auto* runs = benchmark::RegisterBenchmark("run", run, SEESAW_FORMAT_BFLOAT16)
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
  // bf16 beside formats of one element type each; what differs elsewhere is how scales are read.
  for (int32_t format : {SEESAW_FORMAT_BFLOAT16, SEESAW_FORMAT_FP8_656, SEESAW_FORMAT_FP8_576,
                         SEESAW_FORMAT_INT8_644}) {
    const std::string name = seesaw::lab::format_name(format);
    if (seesaw::lab::is_quantised(format)) {
      benchmark::RegisterBenchmark(("pack_records/" + name).c_str(), pack_records, format)
          ->ArgName("h_q")
          ->Arg(16)
          ->Arg(128);
    }
    benchmark::RegisterBenchmark(("formats/" + name).c_str(), run, format)
        ->ArgNames({"h_q", "b", "s_k", "threads"})
        ->UseRealTime()
        ->Unit(benchmark::kMicrosecond)
        ->ArgsProduct({{128, 16}, {1, 8}, {8192}, {1, threads}});
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) {
    return 1;
  }
  add_roofs();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
