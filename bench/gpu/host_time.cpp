#include "host_time.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "lab/roofs/timer.hpp"

namespace seesaw::bench {
namespace {

constexpr int kCalls = 16;  // of a batch: up to 32 launches, where a stream queues about a thousand
constexpr int kBatches = 400;
constexpr int kWarmUpBatches = 20;

// The kernels of one call, launched with the parameters that the library gave them.
class BareLaunches {
 public:
  explicit BareLaunches(const CallGraph& call) : stream_(call.stream()) {
    for (const cudaGraphNode_t node : call.kernels()) {
      cudaKernelNodeParams params = {};
      must(cudaGraphKernelNodeGetParams(node, &params), "cudaGraphKernelNodeGetParams");
      kernels_.push_back(params);
    }
  }

  int count() const { return static_cast<int>(kernels_.size()); }

  // Allowed to overlap with the kernel before, as the library's are.
  void launch() const {
    cudaLaunchAttribute overlap = {};
    overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    overlap.val.programmaticStreamSerializationAllowed = 1;
    for (const cudaKernelNodeParams& kernel : kernels_) {
      cudaLaunchConfig_t config = {};
      config.gridDim = kernel.gridDim;
      config.blockDim = kernel.blockDim;
      config.dynamicSmemBytes = kernel.sharedMemBytes;
      config.stream = stream_;
      config.attrs = &overlap;
      config.numAttrs = 1;
      must(cudaLaunchKernelExC(&config, kernel.func, kernel.kernelParams), "cudaLaunchKernelExC");
    }
  }

 private:
  cudaStream_t stream_;
  std::vector<cudaKernelNodeParams> kernels_;  // the parameters are the graph's
};

// Microseconds of the host a call, of one batch.
template <typename Call>
double time_batch(cudaStream_t stream, Call call) {
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < kCalls; ++i) {
    call();
  }
  const auto end = std::chrono::steady_clock::now();
  must(cudaStreamSynchronize(stream), "a batch of calls");
  return std::chrono::duration<double, std::micro>(end - begin).count() / kCalls;
}

double median_of(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// What the machine itself asks for two things that every call does once.
void print_machine_costs() {
  constexpr int kTimes = 10000;
  const auto us_each = [](auto what) {
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < kTimes; ++i) {
      what();
    }
    const auto end = std::chrono::steady_clock::now();
    return std::chrono::duration<double, std::micro>(end - begin).count() / kTimes;
  };
  int device = 0;
  const double of_device = us_each([&] { must(cudaGetDevice(&device), "cudaGetDevice"); });
  const double of_clock = us_each([] { (void)std::chrono::steady_clock::now(); });
  std::printf("on this machine cudaGetDevice takes %.3f us, a reading of the clock %.3f us\n",
              of_device, of_clock);
}

}  // namespace

HostTime measure_host_time(const DecodeCase& c, const Pool& pool, cudaStream_t stream) {
  const DecodeRun run(c, pool, 0, stream);
  run.schedule();
  run.run(0);  // what a process does once, before the capture
  const CallGraph graph(stream, 1, [&](int i) { run.run(i); });
  const BareLaunches bare(graph);
  std::vector<double> of_run;
  std::vector<double> of_layers;
  std::vector<double> of_bare;
  std::vector<seesaw_dense_decode_args> layers;
  for (int layer = 0; layer < DecodeRun::kLayers; ++layer) {
    layers.push_back(run.layer_args(layer));
  }
  const auto call_layer = [&](size_t layer) {
    check(seesaw_dense_decode_run(run.decode().get(), &layers[layer], &run.call()));
  };
  size_t layer = 0;
  for (int batch = -kWarmUpBatches; batch < kBatches; ++batch) {
    const double run_us = time_batch(stream, [&] { call_layer(0); });
    const double layers_us = time_batch(stream, [&] { call_layer(layer++ % layers.size()); });
    const double bare_us = time_batch(stream, [&] { bare.launch(); });
    if (batch >= 0) {
      of_run.push_back(run_us);
      of_layers.push_back(layers_us);
      of_bare.push_back(bare_us);
    }
  }
  return {c, bare.count(), median_of(of_run), median_of(of_layers), median_of(of_bare)};
}

void print_host_time(const std::vector<HostTime>& times) {
  print_machine_costs();
  std::printf("host time of a call, us (median of %d batches of %d)\n", kBatches, kCalls);
  std::printf("%-30s %9s %9s %9s %9s %9s\n", "case", "launches", "run", "61 layers", "bare",
              "run-bare");
  for (const HostTime& t : times) {
    std::printf("%-30s %9d %9.2f %9.2f %9.2f %9.2f\n", t.decode_case.name().c_str(), t.launches,
                t.run_us, t.layers_us, t.bare_us, t.run_us - t.bare_us);
  }
}

void write_host_time(const std::string& path, const Machine& machine,
                     const std::vector<HostTime>& times) {
  nlohmann::ordered_json json;
  json["device"] = machine.device;
  json["commit"] = machine.commit;
  json["date"] = machine.date;
  json["driver"] = machine.driver;
  json["host_time"] = nlohmann::ordered_json::array();
  for (const HostTime& t : times) {
    json["host_time"].push_back({{"case", t.decode_case.name()},
                                 {"launches", t.launches},
                                 {"run_us", t.run_us},
                                 {"run_61_layers_us", t.layers_us},
                                 {"bare_launches_us", t.bare_us}});
  }
  std::ofstream file(path);
  file << json.dump(1) << "\n";
  if (!file) {
    throw std::runtime_error("cannot write " + path);
  }
}

}  // namespace seesaw::bench
