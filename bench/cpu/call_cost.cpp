// What a call of the C ABI costs when there is nothing to compute, for one or several builds of the
// library side by side: each is loaded with dlopen, and their repetitions are interleaved.
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

#include "seesaw/seesaw.hpp"

namespace seesaw::bench {
namespace {

// The functions of one library; this program links none.
struct Library {
  std::string path;
  decltype(&seesaw_dense_decode_plan_create) plan_create = nullptr;
  decltype(&seesaw_dense_decode_plan_destroy) plan_destroy = nullptr;
  decltype(&seesaw_dense_decode_plan_get_info) plan_get_info = nullptr;
  decltype(&seesaw_dense_decode_schedule) schedule = nullptr;
  decltype(&seesaw_dense_decode_run) run = nullptr;
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
  find("seesaw_dense_decode_plan_create", library.plan_create);
  find("seesaw_dense_decode_plan_destroy", library.plan_destroy);
  find("seesaw_dense_decode_plan_get_info", library.plan_get_info);
  find("seesaw_dense_decode_schedule", library.schedule);
  find("seesaw_dense_decode_run", library.run);
  return library;
}

DenseDecodeDescriptor descriptor() {
  return {.h_q = 1, .max_pages_per_sequence = 1, .num_threads = 1, .kernel = "cpu.dense_decode"};
}

// One sequence of length 0 on one worker: the call itself is all that is left.
struct EmptyCall {
  const Library& library;
  seesaw_dense_decode_plan* plan = nullptr;
  AlignedBuffer schedule_buffer, workspace;
  std::vector<uint16_t> q, cache, out;
  std::vector<float> lse;
  std::vector<int32_t> table, lengths;
  seesaw_dense_decode_args args{};

  explicit EmptyCall(const Library& of)
      : library(of), q(576), cache(64 * 576), out(512), lse(1), table(1), lengths(1) {
    const DenseDecodeDescriptor described = descriptor();
    const seesaw_dense_decode_problem problem = described.to_c();
    seesaw_dense_decode_plan_info info{};
    info.struct_size = sizeof(info);
    if (library.plan_create(&problem, &plan) != SEESAW_OK ||
        library.plan_get_info(plan, &info) != SEESAW_OK) {
      fail("seesaw_call_cost: " + library.path +
           " refuses the plan, allowed: this program's "
           "problem. Use libraries of the same header.");
    }
    schedule_buffer = AlignedBuffer(info.schedule_bytes);
    workspace = AlignedBuffer(info.workspace_bytes);
    args.struct_size = sizeof(args);
    args.q = make_tensor(q.data(), SEESAW_BFLOAT16, {1, 1, 1, 576});
    args.kv_cache = make_tensor(cache.data(), SEESAW_BFLOAT16, {1, 64, 1, 576});
    args.block_table = make_tensor(table.data(), SEESAW_INT32, {1, 1});
    args.seq_lens = make_tensor(lengths.data(), SEESAW_INT32, {1});
    args.out = make_tensor(out.data(), SEESAW_BFLOAT16, {1, 1, 1, 512});
    args.lse = make_tensor(lse.data(), SEESAW_FLOAT32, {1, 1, 1});
    args.scale = 1.0F;
    args.schedule = schedule_buffer.data();
    args.schedule_bytes = schedule_buffer.size();
    args.workspace = workspace.data();
    args.workspace_bytes = workspace.size();
    require(make_schedule());
    require(library.run(plan, &args));
  }
  ~EmptyCall() { library.plan_destroy(plan); }
  EmptyCall(const EmptyCall&) = delete;
  EmptyCall& operator=(const EmptyCall&) = delete;

  seesaw_status make_schedule() const {
    return library.schedule(plan, &args.seq_lens, args.schedule, args.schedule_bytes, nullptr);
  }
  void require(seesaw_status status) const {
    if (status != SEESAW_OK) {
      fail("seesaw_call_cost: a call of " + library.path + " failed, allowed: none. Debug it.");
    }
  }
};

void plan(benchmark::State& state, const Library* library) {
  const DenseDecodeDescriptor described = descriptor();
  const seesaw_dense_decode_problem problem = described.to_c();
  for (auto _ : state) {
    seesaw_dense_decode_plan* made = nullptr;
    benchmark::DoNotOptimize(library->plan_create(&problem, &made));
    library->plan_destroy(made);
  }
}

void schedule(benchmark::State& state, const Library* library) {
  const EmptyCall call(*library);
  for (auto _ : state) {
    benchmark::DoNotOptimize(call.make_schedule());
  }
}

void run(benchmark::State& state, const Library* library) {
  const EmptyCall call(*library);
  for (auto _ : state) {
    benchmark::DoNotOptimize(library->run(call.plan, &call.args));
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
    benchmark::RegisterBenchmark(("schedule/" + library->path).c_str(), schedule, library);
    benchmark::RegisterBenchmark(("run/" + library->path).c_str(), run, library);
  }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
