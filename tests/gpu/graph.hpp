// CUDA graphs, for tests.
#pragma once

#include <cuda_runtime_api.h>

#include "lab/device/device_memory.hpp"

namespace seesaw::gpu_test {

// A captured and instantiated graph.
class Graph {
 public:
  template <typename Work>
  Graph(const lab::Stream& stream, Work work) : stream_(stream) {
    lab::must(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal), "capture");
    work();
    lab::must(cudaStreamEndCapture(stream.get(), &graph_), "end of capture");
    lab::must(cudaGraphInstantiate(&executable_, graph_, 0), "cudaGraphInstantiate");
  }
  ~Graph() {
    cudaGraphExecDestroy(executable_);
    cudaGraphDestroy(graph_);
  }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  void replay() const { lab::must(cudaGraphLaunch(executable_, stream_.get()), "cudaGraphLaunch"); }

 private:
  const lab::Stream& stream_;
  cudaGraph_t graph_ = nullptr;
  cudaGraphExec_t executable_ = nullptr;
};

}  // namespace seesaw::gpu_test
