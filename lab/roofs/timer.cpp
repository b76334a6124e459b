#include "lab/roofs/timer.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "lab/device/device_memory.hpp"

namespace seesaw::lab {
namespace {

using lab::must;

class Event {
 public:
  Event() { must(cudaEventCreate(&event_), "cudaEventCreate"); }
  ~Event() {
    if (event_ != nullptr) {
      cudaEventDestroy(event_);
    }
  }
  Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  Event& operator=(Event&&) = delete;
  void record(cudaStream_t stream) const { must(cudaEventRecord(event_, stream), "event"); }
  bool reached() const { return cudaEventQuery(event_) == cudaSuccess; }
  double ms_since(const Event& earlier) const {
    float ms = 0.0F;
    must(cudaEventElapsedTime(&ms, earlier.event_, event_), "cudaEventElapsedTime");
    return static_cast<double>(ms);
  }

 private:
  cudaEvent_t event_ = nullptr;
};

double now_ms() {
  return std::chrono::duration<double, std::milli>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

double quantile(std::vector<double> values, double q) {
  if (values.empty()) {
    return 0.0;
  }
  const auto at = static_cast<size_t>(q * static_cast<double>(values.size() - 1) + 0.5);
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(at), values.end());
  return values[at];
}

constexpr int kBursts = 7;
constexpr double kBurstIdleMs = 100.0;
constexpr size_t kQueuedReplays = 3;  // enough that the GPU never waits for the host

}  // namespace

CallGraph::CallGraph(cudaStream_t stream, int calls, const std::function<void(int)>& call)
    : stream_(stream), calls_(calls) {
  must(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capture");
  for (int i = 0; i < calls; ++i) {
    call(i);
  }
  must(cudaStreamEndCapture(stream, &graph_), "end of capture");
  instantiate();
}

CallGraph::CallGraph(cudaStream_t stream, int calls, cudaGraphNode_t kernel)
    : stream_(stream), calls_(calls) {
  cudaKernelNodeParams params = {};
  must(cudaGraphKernelNodeGetParams(kernel, &params), "cudaGraphKernelNodeGetParams");
  must(cudaGraphCreate(&graph_, 0), "cudaGraphCreate");
  cudaGraphNode_t last = nullptr;
  for (int i = 0; i < calls; ++i) {
    cudaGraphNode_t node = nullptr;
    must(cudaGraphAddKernelNode(&node, graph_, &last, i == 0 ? 0 : 1, &params),
         "cudaGraphAddKernelNode");
    last = node;
  }
  instantiate();
}

CallGraph::~CallGraph() {
  cudaGraphExecDestroy(executable_);
  cudaGraphDestroy(graph_);
}

void CallGraph::instantiate() {
  must(cudaGraphInstantiate(&executable_, graph_, 0), "cudaGraphInstantiate");
}

void CallGraph::replay() const { must(cudaGraphLaunch(executable_, stream_), "cudaGraphLaunch"); }

std::vector<cudaGraphNode_t> CallGraph::kernels() const {
  size_t count = 0;
  must(cudaGraphGetNodes(graph_, nullptr, &count), "cudaGraphGetNodes");
  std::vector<cudaGraphNode_t> nodes(count);
  must(cudaGraphGetNodes(graph_, nodes.data(), &count), "cudaGraphGetNodes");
  std::erase_if(nodes, [](cudaGraphNode_t node) {
    cudaGraphNodeType type = cudaGraphNodeTypeEmpty;
    must(cudaGraphNodeGetType(node, &type), "cudaGraphNodeGetType");
    return type != cudaGraphNodeTypeKernel;
  });
  return nodes;
}

double probe_us(const CallGraph& graph) {
  const Event begin;
  const Event end;
  graph.replay();
  begin.record(graph.stream());
  graph.replay();
  end.record(graph.stream());
  must(cudaStreamSynchronize(graph.stream()), "probe");
  return end.ms_since(begin) * 1e3 / graph.calls();
}

Timing time_bursts(const CallGraph& graph, const Nvml& nvml) {
  const Event begin;
  const Event end;
  std::vector<double> us;
  std::vector<PowerSample> samples;
  for (int burst = 0; burst < kBursts; ++burst) {
    must(cudaStreamSynchronize(graph.stream()), "burst");
    usleep(static_cast<useconds_t>(kBurstIdleMs * 1e3));
    graph.replay();
    begin.record(graph.stream());
    graph.replay();
    end.record(graph.stream());
    samples.push_back(nvml.sample());
    must(cudaStreamSynchronize(graph.stream()), "burst");
    us.push_back(end.ms_since(begin) * 1e3 / graph.calls());
  }
  return {quantile(us, 0.5), quantile(us, 0.1), quantile(us, 0.9), mean_of(samples)};
}

Timing time_graph(const CallGraph& graph, const Regime& regime, const Nvml& nvml) {
  graph.replay();
  must(cudaStreamSynchronize(graph.stream()), "warm-up");
  usleep(static_cast<useconds_t>(regime.idle_ms * 1e3));
  std::vector<Event> marks(1);
  std::vector<PowerSample> samples;
  size_t done = 0;
  const double start = now_ms();
  marks[0].record(graph.stream());
  while (now_ms() - start < regime.end_ms) {
    graph.replay();
    marks.emplace_back();
    marks.back().record(graph.stream());
    while (marks.size() - 1 - done > kQueuedReplays) {
      if (marks[done + 1].reached()) {
        ++done;
        continue;
      }
      if (now_ms() - start >= regime.begin_ms) {
        samples.push_back(nvml.sample());
      }
      usleep(500);
    }
  }
  must(cudaStreamSynchronize(graph.stream()), "timing");
  std::vector<double> us;
  for (size_t i = 1; i < marks.size(); ++i) {
    if (marks[i - 1].ms_since(marks[0]) >= regime.begin_ms || i + 1 == marks.size()) {
      us.push_back(marks[i].ms_since(marks[i - 1]) * 1e3 / graph.calls());
    }
  }
  return {quantile(us, 0.5), quantile(us, 0.1), quantile(us, 0.9), mean_of(samples)};
}

}  // namespace seesaw::lab
