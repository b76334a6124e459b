// The limits of the card as it stands, measured in the same run as everything else.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <string>

#include "lab/roofs/nvml.hpp"

namespace seesaw::lab {

struct Roofs {
  double cublas_burst_tflops = 0.0;      // bf16 8192^3, bursts of 10 products
  double cublas_short_tflops = 0.0;      // in the short regime
  double cublas_sustained_tflops = 0.0;  // in the sustained regime; 0: not asked for
  double read_plain_gbps = 0.0;          // one sweep over `pool` with 16-byte loads
  double read_tma_gbps = 0.0;            // a private stream of 72 KB blocks an SM, by TMA
  std::string cublas_problem;            // why there is no cuBLAS figure, if so

  double bytes_per_second() const {
    return 1e9 * (read_plain_gbps > read_tma_gbps ? read_plain_gbps : read_tma_gbps);
  }
};

// `pool`: bf16 values, several times the L2.
struct RoofInputs {
  void* pool = nullptr;
  int64_t pool_bytes = 0;
  int32_t num_sms = 0;
  bool sustained = false;
  cudaStream_t stream = nullptr;
};

Roofs measure_roofs(const RoofInputs& inputs, const Nvml& nvml);

// Kernels of the bandwidth roofs and of the inputs (read_kernels.cu). `sink`: a float that keeps
// the loads alive.
cudaError_t launch_plain_read(const void* from, int64_t bytes, int32_t num_sms, float* sink,
                              cudaStream_t stream);
cudaError_t launch_tma_read(const void* from, int64_t bytes, int32_t num_sms, float* sink,
                            cudaStream_t stream);
// N(0, sigma) clamped to +-1, as bfloat16 or float16.
cudaError_t launch_normal_fill(void* to, int64_t count, float sigma, bool half, uint64_t seed,
                               cudaStream_t stream);

// What a product's operands are; sums are float32, without tensor cores for kFloat32.
enum class Product { kBfloat16, kFloat16, kFloat32 };

// One product c = a b of size n by cuBLAS, found at run time.
class Cublas {
 public:
  Cublas();
  const std::string& problem() const { return problem_; }  // empty if usable
  // Queues the product on `stream`; false if cuBLAS refused.
  bool multiply(const void* a, const void* b, void* c, int n, cudaStream_t stream,
                Product product = Product::kBfloat16) const;

 private:
  void* library_ = nullptr;
  void* handle_ = nullptr;
  std::string problem_;
};

}  // namespace seesaw::lab
