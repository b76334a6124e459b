#include "lab/roofs/gpu_roofs.hpp"

#include <dlfcn.h>
#include "lab/device/device_memory.hpp"
#include "lab/roofs/timer.hpp"

namespace seesaw::lab {
namespace {

using lab::DeviceBuffer;
using lab::must;

constexpr int kSize = 8192;
constexpr double kFlops = 2.0 * kSize * kSize * kSize;
constexpr int kBurstProducts = 10;

// cuBLAS's C interface as far as it is used here (cuBLAS Library, "cublasGemmEx").
using Create = int (*)(void**);
using SetStream = int (*)(void*, cudaStream_t);
using GemmEx = int (*)(void*, int, int, int, int, int, const void*, const void*, int, int,
                       const void*, int, int, const void*, void*, int, int, int, int);
constexpr int kNoTranspose = 0;
constexpr int kTranspose = 1;
constexpr int kRealFp32 = 0;       // CUDA_R_32F
constexpr int kRealFp16 = 2;       // CUDA_R_16F
constexpr int kRealBf16 = 14;      // CUDA_R_16BF
constexpr int kComputeFloat = 68;  // CUBLAS_COMPUTE_32F
constexpr int kDefaultAlgorithm = -1;

// Where CUDA and Python's CUDA packages put it.
constexpr const char* kCublasPlaces[] = {
    "libcublas.so.13", "/usr/local/cuda/lib64/libcublas.so.13",
    "/opt/torch/.venv/lib/python3.12/site-packages/nvidia/cu13/lib/libcublas.so.13",
    "libcublas.so.12", "/usr/local/cuda/lib64/libcublas.so.12"};

template <typename Launch>
double read_gbps(const RoofInputs& inputs, const Nvml& nvml, Launch launch) {
  DeviceBuffer sink(sizeof(float));
  const CallGraph graph(inputs.stream, 1, [&](int) {
    must(launch(inputs.pool, inputs.pool_bytes, inputs.num_sms, sink.as<float>(), inputs.stream),
         "launching a read");
  });
  return static_cast<double>(inputs.pool_bytes) / time_graph(graph, kShort, nvml).us * 1e-3;
}

void measure_cublas(const RoofInputs& inputs, const Nvml& nvml, Roofs* roofs) {
  const Cublas cublas;
  roofs->cublas_problem = cublas.problem();
  if (!cublas.problem().empty()) {
    return;
  }
  constexpr size_t kBytes = size_t{2} * kSize * kSize;
  DeviceBuffer a(kBytes);
  DeviceBuffer b(kBytes);
  DeviceBuffer c(kBytes);
  constexpr int64_t kCount = int64_t{kSize} * kSize;
  must(launch_normal_fill(a.as<void>(), kCount, 0.1F, false, 1, inputs.stream), "filling a");
  must(launch_normal_fill(b.as<void>(), kCount, 0.1F, false, 2, inputs.stream), "filling b");
  const auto multiply = [&](int) {
    if (!cublas.multiply(a.as<void>(), b.as<void>(), c.as<void>(), kSize, inputs.stream)) {
      roofs->cublas_problem = "cublasGemmEx failed";
    }
  };
  multiply(0);  // cuBLAS allocates what it needs outside the capture
  must(cudaStreamSynchronize(inputs.stream), "cuBLAS");
  const CallGraph graph(inputs.stream, kBurstProducts, multiply);
  roofs->cublas_burst_tflops = kFlops / time_bursts(graph, nvml).us * 1e-6;
  roofs->cublas_short_tflops = kFlops / time_graph(graph, kShort, nvml).us * 1e-6;
  if (inputs.sustained) {
    roofs->cublas_sustained_tflops = kFlops / time_graph(graph, kSustained, nvml).us * 1e-6;
  }
}

}  // namespace

Cublas::Cublas() {
  for (const char* place : kCublasPlaces) {
    library_ = library_ == nullptr ? dlopen(place, RTLD_NOW) : library_;
  }
  if (library_ == nullptr) {
    problem_ = "libcublas not found";
    return;
  }
  const auto create = reinterpret_cast<Create>(dlsym(library_, "cublasCreate_v2"));
  if (create == nullptr || create(&handle_) != 0) {
    problem_ = "cublasCreate failed";
  }
}

bool Cublas::multiply(const void* a, const void* b, void* c, int n, cudaStream_t stream,
                      Product product) const {
  const auto set_stream = reinterpret_cast<SetStream>(dlsym(library_, "cublasSetStream_v2"));
  const auto gemm = reinterpret_cast<GemmEx>(dlsym(library_, "cublasGemmEx"));
  const int type = product == Product::kFloat32   ? kRealFp32
                   : product == Product::kFloat16 ? kRealFp16
                                                  : kRealBf16;
  const float one = 1.0F;
  const float zero = 0.0F;
  return set_stream != nullptr && gemm != nullptr && set_stream(handle_, stream) == 0 &&
         gemm(handle_, kTranspose, kNoTranspose, n, n, n, &one, a, type, n, b, type, n, &zero, c,
              type, n, kComputeFloat, kDefaultAlgorithm) == 0;
}

Roofs measure_roofs(const RoofInputs& inputs, const Nvml& nvml) {
  Roofs roofs;
  roofs.read_plain_gbps = read_gbps(inputs, nvml, launch_plain_read);
  roofs.read_tma_gbps = read_gbps(inputs, nvml, launch_tma_read);
  measure_cublas(inputs, nvml, &roofs);
  return roofs;
}

}  // namespace seesaw::lab
