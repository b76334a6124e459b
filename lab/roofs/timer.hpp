// Times work as replays of a CUDA graph, in one of three regimes: burst (one replay of ten calls or
// two milliseconds, one replay after an idle gap), short (20 to 150 ms after it, while the power
// limit sets in) and sustained (the last two of three seconds, when it rules). bench/gpu/README.md
// says why all three.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <vector>

#include "lab/roofs/nvml.hpp"

namespace seesaw::lab {

struct Regime {
  const char* name;
  double idle_ms;   // before the first replay
  double begin_ms;  // replays that start in [begin_ms, end_ms) count
  double end_ms;
};

inline constexpr Regime kShort{"short", 150.0, 20.0, 150.0};
inline constexpr Regime kSustained{"sustained", 150.0, 1000.0, 3000.0};

struct Timing {
  double us = 0.0;  // a call, median over the replays
  double us_p10 = 0.0;
  double us_p90 = 0.0;
  PowerSample power;
};

// A graph that makes `calls` calls.
class CallGraph {
 public:
  // Captures call(0) ... call(calls - 1) on `stream`.
  CallGraph(cudaStream_t stream, int calls, const std::function<void(int)>& call);
  // A chain of `calls` copies of one kernel node of another graph.
  CallGraph(cudaStream_t stream, int calls, cudaGraphNode_t kernel);
  ~CallGraph();
  CallGraph(const CallGraph&) = delete;
  CallGraph& operator=(const CallGraph&) = delete;

  void replay() const;
  int calls() const { return calls_; }
  cudaStream_t stream() const { return stream_; }
  std::vector<cudaGraphNode_t> kernels() const;  // its kernel nodes, in order of launch

 private:
  void instantiate();

  cudaStream_t stream_;
  int calls_;
  cudaGraph_t graph_ = nullptr;
  cudaGraphExec_t executable_ = nullptr;
};

// Microseconds of one call, roughly: one replay after one to warm up.
double probe_us(const CallGraph& graph);

Timing time_graph(const CallGraph& graph, const Regime& regime, const Nvml& nvml);

inline constexpr const char* kBurst = "burst";

// Bursts: idle, a replay to warm up, a timed replay; the quantiles are over a few of them.
Timing time_bursts(const CallGraph& graph, const Nvml& nvml);

}  // namespace seesaw::lab
