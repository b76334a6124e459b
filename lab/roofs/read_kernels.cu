#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "lab/roofs/gpu_roofs.hpp"

namespace seesaw::lab {
namespace {

constexpr int kReadThreads = 512;
constexpr int kBlockBytes = 64 * 576 * 2;  // a page of the latent cache
constexpr int kStages = 3;

// Plain loads: the grid sweeps the memory once, eight 16-byte loads in flight a thread.
__global__ void __launch_bounds__(kReadThreads)
    plain_read_kernel(const uint4* from, int64_t count, float* sink) {
  const int64_t step = int64_t{gridDim.x} * kReadThreads;
  uint32_t seen = 0;
  for (int64_t i = blockIdx.x * int64_t{kReadThreads} + threadIdx.x; i + 7 * step < count;
       i += 8 * step) {
    uint4 values[8];
#pragma unroll
    for (int k = 0; k < 8; ++k) {
      asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                   : "=r"(values[k].x), "=r"(values[k].y), "=r"(values[k].z), "=r"(values[k].w)
                   : "l"(from + i + k * step));
    }
#pragma unroll
    for (int k = 0; k < 8; ++k) {
      seen ^= values[k].x ^ values[k].y ^ values[k].z ^ values[k].w;
    }
  }
  if (seen == 0x12345678u) {
    *sink = 1.0F;
  }
}

__device__ uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

__device__ void wait_for_phase(uint32_t barrier, uint32_t phase) {
  uint32_t done = 0;
  while (done == 0) {
    asm volatile(
        "{\n.reg .pred p;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p;\n}"
        : "=r"(done)
        : "r"(barrier), "r"(phase)
        : "memory");
  }
}

__device__ void copy_block(uint32_t to, const char* from, uint32_t barrier) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier),
               "r"(kBlockBytes)
               : "memory");
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(to),
      "l"(from), "r"(kBlockBytes), "r"(barrier)
      : "memory");
}

// The bulk copy engine: a ring of three cache pages an SM, each SM with a run of pages of its own.
__global__ void __launch_bounds__(32, 1) tma_read_kernel(const char* from, int64_t blocks_per_sm) {
  extern __shared__ __align__(128) char stages[];
  __shared__ uint64_t barriers[kStages];
  if (threadIdx.x != 0) {
    return;
  }
  for (uint64_t& barrier : barriers) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(&barrier)));
  }
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  const char* mine = from + blockIdx.x * blocks_per_sm * kBlockBytes;
  for (int64_t i = 0; i < kStages && i < blocks_per_sm; ++i) {
    copy_block(shared_address(stages) + static_cast<uint32_t>(i) * kBlockBytes,
               mine + i * kBlockBytes, shared_address(&barriers[i]));
  }
  for (int64_t i = 0; i < blocks_per_sm; ++i) {
    const auto stage = static_cast<uint32_t>(i % kStages);
    wait_for_phase(shared_address(&barriers[stage]), static_cast<uint32_t>(i / kStages) & 1u);
    if (i + kStages < blocks_per_sm) {
      copy_block(shared_address(stages) + stage * kBlockBytes, mine + (i + kStages) * kBlockBytes,
                 shared_address(&barriers[stage]));
    }
  }
}

__device__ uint32_t hash(uint64_t x) {
  x ^= x >> 31;
  x *= 0x9E3779B97F4A7C15ULL;
  x ^= x >> 29;
  x *= 0xBF58476D1CE4E5B9ULL;
  return static_cast<uint32_t>(x >> 32);
}

template <typename T>
__global__ void normal_fill_kernel(T* to, int64_t count, float sigma, uint64_t seed) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < count; i += step) {
    const auto place = static_cast<uint64_t>(i);
    const float u = (static_cast<float>(hash(2 * place + seed)) + 1.0F) * 2.3283064e-10F;
    const float v = static_cast<float>(hash(2 * place + 1 + seed)) * 2.3283064e-10F;
    const float normal = sqrtf(-2.0F * __logf(fminf(u, 1.0F))) * cospif(2.0F * v);
    to[i] = static_cast<T>(fminf(fmaxf(sigma * normal, -1.0F), 1.0F));
  }
}

}  // namespace

cudaError_t launch_plain_read(const void* from, int64_t bytes, int32_t num_sms, float* sink,
                              cudaStream_t stream) {
  plain_read_kernel<<<static_cast<unsigned>(num_sms) * 4, kReadThreads, 0, stream>>>(
      static_cast<const uint4*>(from), bytes / 16, sink);
  return cudaGetLastError();
}

cudaError_t launch_tma_read(const void* from, int64_t bytes, int32_t num_sms, float* /*sink*/,
                            cudaStream_t stream) {
  constexpr int kShared = kStages * kBlockBytes;
  const cudaError_t error =
      cudaFuncSetAttribute(tma_read_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kShared);
  if (error != cudaSuccess) {
    return error;
  }
  tma_read_kernel<<<static_cast<unsigned>(num_sms), 32, kShared, stream>>>(
      static_cast<const char*>(from), bytes / kBlockBytes / num_sms);
  return cudaGetLastError();
}

cudaError_t launch_normal_fill(void* to, int64_t count, float sigma, bool half, uint64_t seed,
                               cudaStream_t stream) {
  constexpr unsigned kBlocks = 1056;
  constexpr unsigned kThreads = 256;
  if (half) {
    normal_fill_kernel<<<kBlocks, kThreads, 0, stream>>>(static_cast<__half*>(to), count, sigma,
                                                         seed);
  } else {
    normal_fill_kernel<<<kBlocks, kThreads, 0, stream>>>(static_cast<__nv_bfloat16*>(to), count,
                                                         sigma, seed);
  }
  return cudaGetLastError();
}

}  // namespace seesaw::lab
