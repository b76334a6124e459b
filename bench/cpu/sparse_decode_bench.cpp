// Sparse decoding and sparse prefill on the CPU beside dense decoding over the same number of
// tokens: what gathering single rows costs. Slots are distinct, in random order over a pool of many
// more; dense pages are in random order, too.
//
//   seesaw_cpu_sparse_bench --benchmark_repetitions=9 --benchmark_enable_random_interleaving=true
//       --benchmark_out=record.json
#include <benchmark/benchmark.h>

#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "lab/cache_records.hpp"
#include "lab/sparse_case.hpp"
#include "lab/synthetic.hpp"
#include "seesaw/ops/dense_decode.h"

namespace seesaw::bench {
namespace {

using namespace lab;

constexpr int64_t kDqk = 576;
constexpr int64_t kDv = 512;
constexpr int64_t kPageSize = 64;
constexpr int64_t kPoolTokens = 1 << 16;

struct Shape {
  int32_t format;
  int64_t h_q;
  int64_t batch;
  int64_t tokens;  // that each query token attends
  int32_t threads;
};

seesaw_options options_of(const Shape& shape) {
  return {.num_threads = shape.threads, .tuning = "none"};
}

// A planned and prepared call of any of the three.
template <typename Operation>
class Timed {
 public:
  Timed(const typename Operation::Problem& problem, const typename Operation::Args& inputs,
        const Shape& shape)
      : plan_(problem, options_of(shape)),
        args_(inputs),
        out_(static_cast<size_t>(shape.batch * shape.h_q * kDv) * 2),
        schedule_(plan_.schedule_bytes()),
        workspace_(plan_.workspace_bytes()) {
    call_.schedule = schedule_.data();
    call_.schedule_bytes = schedule_.size();
    call_.workspace = workspace_.data();
    call_.workspace_bytes = workspace_.size();
  }

  void run(benchmark::State& state, const Shape& shape, const seesaw_tensor& out) {
    args_.out = out;
    args_.out.data = out_.data();
    plan_.prepare(args_, call_);
    for (auto _ : state) {
      plan_.run(args_, call_);
    }
    const double pairs = static_cast<double>(state.iterations() * shape.batch * shape.tokens);
    state.counters["GFLOP/s"] = benchmark::Counter(
        2e-9 * pairs * static_cast<double>(shape.h_q * (kDqk + kDv)), benchmark::Counter::kIsRate);
    state.counters["ns/token"] =
        benchmark::Counter(1e-9 * pairs, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
  }

 private:
  PlanOf<Operation> plan_;
  typename Operation::Args args_;
  AlignedBuffer out_;
  AlignedBuffer schedule_;
  AlignedBuffer workspace_;
  seesaw_call call_;
};

void dense(benchmark::State& state, const Shape& shape) {
  const int64_t token = token_columns(shape.format, kDqk);  // elements
  const seesaw_dense_decode_problem problem{.q_dtype = SEESAW_BFLOAT16,
                                            .kv_format = shape.format,
                                            .batch = shape.batch,
                                            .s_q = 1,
                                            .h_q = shape.h_q,
                                            .h_kv = 1,
                                            .d_qk = kDqk,
                                            .d_v = kDv,
                                            .page_size = kPageSize,
                                            .kv_page_stride = kPageSize * token,
                                            .kv_token_stride = token,
                                            .kv_head_stride = token};
  const std::vector<int32_t> lengths(static_cast<size_t>(shape.batch),
                                     static_cast<int32_t>(shape.tokens));
  const SyntheticCase source(problem, lengths, {.seed = 7});
  const SyntheticMemory memory(source);
  Timed<DenseDecodeOperation>(source.problem(), memory.inputs(source), shape)
      .run(state, shape, make_tensor(nullptr, SEESAW_BFLOAT16, {shape.batch, 1, shape.h_q, kDv}));
}

SparseSpec spec_of(const Shape& shape, int64_t page_size) {
  return {.batch = shape.batch,
          .h_q = shape.h_q,
          .cache = {.format = shape.format,
                    .topk = shape.tokens,
                    .page_size = page_size,
                    .pages = kPoolTokens / page_size},
          .strangers = Strangers::kNone,
          .duplicate_share = 0};
}

void sparse_decode(benchmark::State& state, const Shape& shape) {
  const SparseCase source(spec_of(shape, kPageSize));
  Timed<SparseDecodeOperation>(source.problem(), source.inputs(), shape)
      .run(state, shape, make_tensor(nullptr, SEESAW_BFLOAT16, {shape.batch, 1, shape.h_q, kDv}));
}

void sparse_prefill(benchmark::State& state, const Shape& shape) {
  const SparseCase source(spec_of(shape, 1));
  Timed<SparsePrefillOperation>(source.prefill_problem(), source.prefill_inputs(), shape)
      .run(state, shape, make_tensor(nullptr, SEESAW_BFLOAT16, {shape.batch, shape.h_q, kDv}));
}

void add(const Shape& shape) {
  constexpr std::pair<const char*, void (*)(benchmark::State&, const Shape&)> kOperations[] = {
      {"dense_decode", dense},
      {"sparse_decode", sparse_decode},
      {"sparse_prefill", sparse_prefill}};
  for (const auto& [name, run] : kOperations) {
    const std::string text =
        std::string(name) + "/" + format_name(shape.format) + "/h_q:" + std::to_string(shape.h_q) +
        "/b:" + std::to_string(shape.batch) + "/tokens:" + std::to_string(shape.tokens) +
        "/threads:" + std::to_string(shape.threads);
    benchmark::RegisterBenchmark(text.c_str(), run, shape)
        ->UseRealTime()
        ->Unit(benchmark::kMicrosecond);
  }
}

}  // namespace
}  // namespace seesaw::bench

int main(int argc, char** argv) {
  using namespace seesaw::bench;
  const auto threads = static_cast<int32_t>(std::max(1u, std::thread::hardware_concurrency()));
  for (const int32_t format : {SEESAW_FORMAT_BFLOAT16, SEESAW_FORMAT_FP8_656}) {
    for (const int64_t h_q : {128, 16}) {
      for (const int64_t batch : {1, 8}) {
        add({format, h_q, batch, 2048, 1});
        if (threads > 1) {
          add({format, h_q, batch, 2048, threads});
        }
      }
    }
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) {
    return 1;
  }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
