#include "compare/device_roofs.hpp"

#include <cuda_runtime_api.h>

#include <algorithm>

#include "compare/values.hpp"
#include "error.hpp"
#include "lab/roofs/gpu_roofs.hpp"
#include "numbers.hpp"

namespace seesaw::tools {
namespace {

constexpr int kTrials = 7;
constexpr int kCallsPerTrial = 5;
constexpr int kSize = 8192;       // of 16-bit products
constexpr int kSizeFloat = 4096;  // without tensor cores
constexpr size_t kReadBytes = size_t{2} << 30;

// The shortest of a few trials, in seconds a call.
template <typename Call>
double best_seconds(Device& device, const Call& call) {
  call();
  device.synchronise();
  double best_us = 0;
  for (int trial = 0; trial < kTrials; ++trial) {
    const double us = device.time_us([&] {
      for (int i = 0; i < kCallsPerTrial; ++i) {
        call();
      }
    });
    best_us = trial == 0 ? us : std::min(best_us, us);
  }
  return best_us * 1e-6 / kCallsPerTrial;
}

Failure cublas_failed(const std::string& why) {
  return {ExitCode::kInternal, "compare: " + why +
                                   ", needed: cuBLAS 12 or 13 for the roofs. Put libcublas on "
                                   "LD_LIBRARY_PATH."};
}

double product_gflops(Device& device, const lab::Cublas& cublas, lab::Product product,
                      seesaw_dtype dtype, int n) {
  const size_t count = static_cast<size_t>(n) * static_cast<size_t>(n);
  const HostArray values = normal_array(count, 0.1, dtype, 1);
  const DeviceBuffer a(device, values.bytes.size());
  const DeviceBuffer b(device, values.bytes.size());
  const DeviceBuffer c(device, values.bytes.size());
  device.copy_in(a.data(), values.bytes.data(), values.bytes.size());
  device.copy_in(b.data(), values.bytes.data(), values.bytes.size());
  const auto stream = static_cast<cudaStream_t>(device.stream());
  const double seconds = best_seconds(device, [&] {
    if (!cublas.multiply(a.data(), b.data(), c.data(), n, stream, product)) {
      throw cublas_failed("cublasGemmEx failed");
    }
  });
  return 2.0 * static_cast<double>(count) * n / seconds * 1e-9;
}

double read_gbps(Device& device) {
  int num_sms = 0;
  cudaDeviceGetAttribute(&num_sms, cudaDevAttrMultiProcessorCount, device.id().index);
  const DeviceBuffer memory(device, kReadBytes);
  const DeviceBuffer sink(device, sizeof(float));
  const auto stream = static_cast<cudaStream_t>(device.stream());
  cudaMemsetAsync(memory.data(), 0x5A, kReadBytes, stream);
  const double seconds = best_seconds(device, [&] {
    const cudaError_t error = lab::launch_plain_read(memory.data(), kReadBytes, num_sms,
                                                     static_cast<float*>(sink.data()), stream);
    if (error != cudaSuccess) {
      throw Failure(ExitCode::kInternal,
                    std::string("compare: the sweep over memory failed with ") +
                        cudaGetErrorString(error) +
                        ", needed: a Hopper GPU. Choose another device.");
    }
  });
  return static_cast<double>(kReadBytes) / seconds * 1e-9;
}

}  // namespace

DeviceRoofs measure_cuda_roofs(Device& device) {
  const lab::Cublas cublas;
  if (!cublas.problem().empty()) {
    throw cublas_failed(cublas.problem());
  }
  DeviceRoofs roofs;
  roofs.float32_gflops =
      product_gflops(device, cublas, lab::Product::kFloat32, SEESAW_FLOAT32, kSizeFloat);
  roofs.bfloat16_gflops =
      product_gflops(device, cublas, lab::Product::kBfloat16, SEESAW_BFLOAT16, kSize);
  roofs.float16_gflops =
      product_gflops(device, cublas, lab::Product::kFloat16, SEESAW_FLOAT16, kSize);
  roofs.read_gbps = read_gbps(device);
  roofs.method = "cuBLAS products of 8192^3 (float32: 4096^3, no tensor cores), a sweep over 2 GiB";
  return roofs;
}

}  // namespace seesaw::tools
