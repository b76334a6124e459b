// What a call of the C ABI costs when there is nothing to compute, for one or several builds of the
// library side by side: each is loaded with dlopen, and their repetitions are interleaved. Builds
// of one C ABI only.
//
//   seesaw_call_cost OLD/libseesaw.so NEW/libseesaw.so --benchmark_repetitions=21
//       --benchmark_enable_random_interleaving=true --benchmark_report_aggregates_only=true
#include <benchmark/benchmark.h>
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "seesaw/ops/dense_decode.h"

namespace seesaw::bench {
namespace {

// The functions of one library; this program links none.
struct Library {
  std::string path;
  decltype(&seesaw_plan_create) plan_create = nullptr;
  decltype(&seesaw_plan_destroy) plan_destroy = nullptr;
  decltype(&seesaw_plan_info) plan_info = nullptr;
  decltype(&seesaw_plan_prepare) prepare = nullptr;
  decltype(&seesaw_plan_run) run = nullptr;
};

[[noreturn]] void fail(const std::string& message) {
  std::fprintf(stderr, "%s\n", message.c_str());
  std::exit(2);
}

Library load(const std::string& path) {
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    fail("seesaw_call_cost: " + std::string(dlerror()) + ", allowed: libseesaw.so. Build it.");
  }
  Library library{.path = path};
  const auto find = [&](const char* name, auto& function) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(handle, name));
    if (function == nullptr) {
      fail("seesaw_call_cost: " + path + " has no " + name + ", allowed: libseesaw.so. Build it.");
    }
  };
  find("seesaw_plan_create", library.plan_create);
  find("seesaw_plan_destroy", library.plan_destroy);
  find("seesaw_plan_info", library.plan_info);
  find("seesaw_plan_prepare", library.prepare);
  find("seesaw_plan_run", library.run);
  return library;
}

constexpr seesaw_dense_decode_problem kProblem{.batch = 1, .h_q = 1, .max_pages_per_sequence = 1};
constexpr seesaw_options kOptions{.num_threads = 1, .kernel = "cpu.dense_decode"};

// One sequence of length 0 on one worker: the call itself is all that is left.
struct EmptyCall {
  const Library& library;
  seesaw_plan* plan = nullptr;
  AlignedBuffer schedule_buffer, workspace;
  std::vector<uint16_t> q, cache, out;
  std::vector<float> lse;
  std::vector<int32_t> table, lengths;
  seesaw_dense_decode_args args;
  seesaw_call call;

  explicit EmptyCall(const Library& of)
      : library(of), q(576), cache(64 * 576), out(512), lse(1), table(1), lengths(1) {
    seesaw_plan_details details;
    if (library.plan_create("dense_decode", &kProblem, &kOptions, &plan) != SEESAW_OK ||
        library.plan_info(plan, &details) != SEESAW_OK) {
      fail("seesaw_call_cost: " + library.path +
           " refuses the plan, allowed: this program's "
           "problem. Use libraries of the same header.");
    }
    schedule_buffer = AlignedBuffer(details.schedule_bytes);
    workspace = AlignedBuffer(details.workspace_bytes);
    args.q = make_tensor(q.data(), SEESAW_BFLOAT16, {1, 1, 1, 576});
    args.kv_cache = make_tensor(cache.data(), SEESAW_BFLOAT16, {1, 64, 1, 576});
    args.block_table = make_tensor(table.data(), SEESAW_INT32, {1, 1});
    args.seq_lens = make_tensor(lengths.data(), SEESAW_INT32, {1});
    args.out = make_tensor(out.data(), SEESAW_BFLOAT16, {1, 1, 1, 512});
    args.lse = make_tensor(lse.data(), SEESAW_FLOAT32, {1, 1, 1});
    args.scale = 1.0F;
    call.schedule = schedule_buffer.data();
    call.schedule_bytes = schedule_buffer.size();
    call.workspace = workspace.data();
    call.workspace_bytes = workspace.size();
    require(library.prepare(plan, &args, &call));
    require(library.run(plan, &args, &call));
  }
  ~EmptyCall() { library.plan_destroy(plan); }
  EmptyCall(const EmptyCall&) = delete;
  EmptyCall& operator=(const EmptyCall&) = delete;

  void require(seesaw_status status) const {
    if (status != SEESAW_OK) {
      fail("seesaw_call_cost: a call of " + library.path + " failed, allowed: none. Debug it.");
    }
  }
};

void plan(benchmark::State& state, const Library* library) {
  for (auto _ : state) {
    seesaw_plan* made = nullptr;
    benchmark::DoNotOptimize(library->plan_create("dense_decode", &kProblem, &kOptions, &made));
    library->plan_destroy(made);
  }
}

void prepare(benchmark::State& state, const Library* library) {
  const EmptyCall call(*library);
  for (auto _ : state) {
    benchmark::DoNotOptimize(library->prepare(call.plan, &call.args, &call.call));
  }
}

void run(benchmark::State& state, const Library* library) {
  const EmptyCall call(*library);
  for (auto _ : state) {
    benchmark::DoNotOptimize(library->run(call.plan, &call.args, &call.call));
  }
}

}  // namespace
}  // namespace seesaw::bench

int main(int argc, char** argv) {
  using namespace seesaw::bench;
  benchmark::Initialize(&argc, argv);
  if (argc < 2) {
    fail("seesaw_call_cost: no library, allowed: one or more paths of libseesaw.so. Name them.");
  }
  std::vector<std::unique_ptr<Library>> libraries;
  for (int i = 1; i < argc; ++i) {
    libraries.push_back(std::make_unique<Library>(load(argv[i])));
    const Library* library = libraries.back().get();
    benchmark::RegisterBenchmark(("plan/" + library->path).c_str(), plan, library);
    benchmark::RegisterBenchmark(("prepare/" + library->path).c_str(), prepare, library);
    benchmark::RegisterBenchmark(("run/" + library->path).c_str(), run, library);
  }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
