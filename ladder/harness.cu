#include "ladder/harness.hpp"

#include <cuda_runtime.h>

#include <algorithm>
#include <array>

#include "ladder/runtime.cuh"

namespace seesaw::ladder {
namespace {

using Prepare = Status (*)(const Problem&, Launcher*);
constexpr std::array<Prepare, 11> kPrepare = {prepare_rung_01, prepare_rung_02, prepare_rung_03,
                                              prepare_rung_04, prepare_rung_05, prepare_rung_06,
                                              prepare_rung_07, prepare_rung_08, prepare_rung_09,
                                              prepare_rung_10, prepare_rung_11};

constexpr size_t kFlushBytes = size_t{256} << 20;  // several times any L2 cache
constexpr int kNanByte = 0xFF;                     // two of them make a bfloat16 NaN

struct DeviceFree {
  void operator()(void* memory) const { cudaFree(memory); }
};
using DeviceMemory = std::unique_ptr<void, DeviceFree>;

Status allocate(size_t bytes, DeviceMemory* memory) {
  void* address = nullptr;
  SEESAW_RETURN_IF_ERROR(cuda_status(cudaMalloc(&address, bytes), "cudaMalloc"));
  memory->reset(address);
  return {};
}

template <typename T>
Status upload(const std::vector<T>& source, DeviceMemory* memory, T** pointer) {
  const size_t bytes = source.size() * sizeof(T);
  SEESAW_RETURN_IF_ERROR(allocate(bytes, memory));
  *pointer = static_cast<T*>(memory->get());
  return cuda_status(cudaMemcpy(*pointer, source.data(), bytes, cudaMemcpyHostToDevice),
                     "the copy to the device");
}

template <typename T>
Status upload(const std::vector<T>& source, DeviceMemory* memory, const T** pointer) {
  T* writable = nullptr;
  SEESAW_RETURN_IF_ERROR(upload(source, memory, &writable));
  *pointer = writable;
  return {};
}

__global__ void do_nothing() {}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

Device find_device() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0) {
    return {"", error != cudaSuccess ? cudaGetErrorString(error) : "no CUDA device"};
  }
  cudaDeviceProp properties;
  if (cudaGetDeviceProperties(&properties, 0) != cudaSuccess) {
    return {"", "the device does not answer"};
  }
  const bool hopper = properties.major == 9 && properties.minor == 0;
  return {properties.name, hopper ? "" : std::string(properties.name) + " is no Hopper GPU"};
}

struct GpuHarness::Impl {
  HostProblem& host;
  TimingOptions options;
  Problem problem;  // device pointers
  std::array<DeviceMemory, 8> memory;
  DeviceMemory flush;
  cudaStream_t stream = nullptr;
  cudaEvent_t begin = nullptr;
  cudaEvent_t end = nullptr;
  std::vector<int64_t> rows;
  std::vector<double> reference;

  Status run(const std::function<Status(const Problem&, Launcher*)>& prepare, RungResult* result);
  Status time(const Launcher& launcher, RungResult* result);
  Status check(const Launcher& launcher, Deviation* deviation);
};

GpuHarness::GpuHarness(HostProblem& host, const TimingOptions& options)
    : impl_(new Impl{host, options, {}, {}, {}, nullptr, nullptr, nullptr, {}, {}}) {}

GpuHarness::~GpuHarness() {
  if (impl_->stream != nullptr) {
    cudaStreamDestroy(impl_->stream);
    cudaEventDestroy(impl_->begin);
    cudaEventDestroy(impl_->end);
  }
}

Status GpuHarness::setup() {
  Impl& m = *impl_;
  m.problem = m.host.shape;
  SEESAW_RETURN_IF_ERROR(upload(m.host.q, &m.memory[0], &m.problem.q));
  SEESAW_RETURN_IF_ERROR(upload(m.host.k, &m.memory[1], &m.problem.k));
  SEESAW_RETURN_IF_ERROR(upload(m.host.v, &m.memory[2], &m.problem.v));
  SEESAW_RETURN_IF_ERROR(upload(m.host.pool, &m.memory[3], &m.problem.pool));
  SEESAW_RETURN_IF_ERROR(upload(m.host.block_table, &m.memory[4], &m.problem.block_table));
  SEESAW_RETURN_IF_ERROR(upload(m.host.seq_lens, &m.memory[5], &m.problem.seq_lens));
  SEESAW_RETURN_IF_ERROR(upload(m.host.out, &m.memory[6], &m.problem.out));
  SEESAW_RETURN_IF_ERROR(allocate(kFlushBytes, &m.flush));
  SEESAW_RETURN_IF_ERROR(cuda_status(cudaStreamCreate(&m.stream), "cudaStreamCreate"));
  SEESAW_RETURN_IF_ERROR(cuda_status(cudaEventCreate(&m.begin), "cudaEventCreate"));
  SEESAW_RETURN_IF_ERROR(cuda_status(cudaEventCreate(&m.end), "cudaEventCreate"));
  m.rows = rows_to_check(m.problem, m.options.rows_to_check);
  m.reference = reference_rows(m.host.view(), m.rows);
  return {};
}

// One run into an output full of NaN, compared with the reference.
Status GpuHarness::Impl::check(const Launcher& launcher, Deviation* deviation) {
  const size_t bytes = host.out.size() * sizeof(Bf16);
  SEESAW_RETURN_IF_ERROR(
      cuda_status(cudaMemsetAsync(problem.out, kNanByte, bytes, stream), "cudaMemset"));
  SEESAW_RETURN_IF_ERROR(launcher(stream));
  SEESAW_RETURN_IF_ERROR(cuda_status(cudaStreamSynchronize(stream), "the kernel"));
  SEESAW_RETURN_IF_ERROR(
      cuda_status(cudaMemcpy(host.out.data(), problem.out, bytes, cudaMemcpyDeviceToHost),
                  "the copy from the device"));
  *deviation = compare_rows(host.out, rows, reference);
  return {};
}

// Each run is timed alone, after a write of 256 MB that leaves nothing of the inputs in L2. It is a
// replay of a CUDA graph, as an inference engine would do it, so no launch overhead of the host is
// in the time.
Status GpuHarness::Impl::time(const Launcher& launcher, RungResult* result) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  SEESAW_RETURN_IF_ERROR(
      cuda_status(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capture"));
  const Status launched = launcher(stream);
  SEESAW_RETURN_IF_ERROR(cuda_status(cudaStreamEndCapture(stream, &graph), "the end of capture"));
  SEESAW_RETURN_IF_ERROR(launched);
  SEESAW_RETURN_IF_ERROR(
      cuda_status(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate"));
  std::vector<double> times;
  double total_ms = 0.0;
  cudaError_t error = cudaSuccess;
  for (int run = 0; run <= options.max_runs && error == cudaSuccess; ++run) {
    if (run > options.min_runs && total_ms > options.budget_ms) {
      break;
    }
    cudaMemsetAsync(flush.get(), run & 0xFF, kFlushBytes, stream);
    cudaEventRecord(begin, stream);
    cudaGraphLaunch(executable, stream);
    cudaEventRecord(end, stream);
    error = cudaEventSynchronize(end);
    float milliseconds = 0.0F;
    cudaEventElapsedTime(&milliseconds, begin, end);
    if (run > 0) {  // the first one warms up
      times.push_back(1e3 * static_cast<double>(milliseconds));
      total_ms += static_cast<double>(milliseconds);
    }
  }
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
  SEESAW_RETURN_IF_ERROR(cuda_status(error, "a timed run"));
  result->microseconds = median(times);
  result->fastest_microseconds = *std::min_element(times.begin(), times.end());
  result->runs = static_cast<int>(times.size());
  return {};
}

Status GpuHarness::Impl::run(const std::function<Status(const Problem&, Launcher*)>& prepare,
                             RungResult* result) {
  Launcher launcher;
  SEESAW_RETURN_IF_ERROR(prepare(problem, &launcher));
  SEESAW_RETURN_IF_ERROR(check(launcher, &result->deviation));
  return options.max_runs > 0 ? time(launcher, result) : Status();
}

double GpuHarness::empty_microseconds() {
  RungResult result;
  const Launcher nothing = [](Stream stream) { return launch(do_nothing, LaunchShape{}, stream); };
  return impl_->time(nothing, &result).ok() ? result.microseconds : 0.0;
}

RungResult GpuHarness::run(const Rung& rung) {
  RungResult result;
  result.number = rung.number;
  result.idea = rung.idea;
  result.error = impl_->run(kPrepare[static_cast<size_t>(rung.number - 1)], &result).message();
  return result;
}

RungResult GpuHarness::run(const std::function<Status(const Problem&, Launcher*)>& prepare) {
  RungResult result;
  result.error = impl_->run(prepare, &result).message();
  return result;
}

}  // namespace seesaw::ladder
