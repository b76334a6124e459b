// CUDA C++ for an ordinary compiler: its words, what a thread may call, and launches. Compiled into
// every .cu file first, as nvcc does.
#pragma once

#include <cuda_runtime_api.h>
#include <math.h>

#include <cstdint>
#include <cstring>
#include <functional>

#include "simt.hpp"

// CUDA's own spelling of these is fixed by the sources under test.
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__
#define __grid_constant__
#define __launch_bounds__(...)
#define __shared__ static  // blocks run one after the other

inline constexpr const seesaw::emulator::Dim& threadIdx = seesaw::emulator::thread_index;
inline constexpr const seesaw::emulator::Dim& blockIdx = seesaw::emulator::block_index;
inline constexpr const seesaw::emulator::Dim& blockDim = seesaw::emulator::block_size;
inline constexpr const seesaw::emulator::Dim& gridDim = seesaw::emulator::grid_size;

// ---- launches

enum cudaLaunchAttributeID { cudaLaunchAttributeProgrammaticStreamSerialization };
struct cudaLaunchAttribute {
  cudaLaunchAttributeID id;
  struct {
    int programmaticStreamSerializationAllowed;
  } val;
};
struct cudaLaunchConfig_t {
  dim3 gridDim;
  dim3 blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
  cudaLaunchAttribute* attrs;
  unsigned numAttrs;
};

// `thread`: the kernel with its arguments.
cudaError_t emulated_launch(const cudaLaunchConfig_t& config, std::function<void()> thread);

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               const Arguments&... arguments) {
  return emulated_launch(*config, [=] { kernel(arguments...); });
}

// ---- variables of the device: the host's

template <typename T>
cudaError_t cudaMemcpyToSymbolAsync(T& symbol, const void* from, size_t bytes, size_t offset,
                                    cudaMemcpyKind kind, cudaStream_t stream) {
  return cudaMemcpyAsync(reinterpret_cast<char*>(&symbol) + offset, from, bytes, kind, stream);
}

// ---- what a thread may call

inline void __syncthreads() {
  seesaw::emulator::barrier_sync(0, seesaw::emulator::block_threads());
}
inline void __syncwarp() { seesaw::emulator::sync_warp(); }

// Of the whole warp, as all of the sources ask for it.
template <typename T>
T emulated_lane_value(const seesaw::emulator::ExchangeView& view, unsigned lane) {
  T value;
  std::memcpy(&value, view.bytes + lane * seesaw::emulator::kExchangeBytes, sizeof(value));
  return value;
}
template <typename T>
seesaw::emulator::ExchangeView emulated_exchange(unsigned mask, T value) {
  static_assert(sizeof(T) <= seesaw::emulator::kExchangeBytes);
  if (mask != ~0U) seesaw::emulator::fault("a shuffle or vote by a part of a warp");
  return seesaw::emulator::exchange(&value, sizeof(value));
}

template <typename T>
T __shfl_sync(unsigned mask, T value, int lane) {
  return emulated_lane_value<T>(emulated_exchange(mask, value), static_cast<unsigned>(lane) % 32);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int distance) {
  return __shfl_sync(mask, value, static_cast<int>(threadIdx.x % 32) ^ distance);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, int distance) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  return __shfl_sync(mask, value, lane >= distance ? lane - distance : lane);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, int distance) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  return __shfl_sync(mask, value, lane + distance < 32 ? lane + distance : lane);
}
inline unsigned __ballot_sync(unsigned mask, bool value) {
  const auto view = emulated_exchange(mask, value);
  unsigned bits = 0;
  for (unsigned lane = 0; lane < 32; ++lane) {
    bits |= static_cast<unsigned>(emulated_lane_value<bool>(view, lane)) << lane;
  }
  return bits;
}
inline bool __any_sync(unsigned mask, bool value) { return __ballot_sync(mask, value) != 0; }
inline bool __all_sync(unsigned mask, bool value) { return __ballot_sync(mask, value) == ~0U; }

// One fiber at a time, so nothing comes between a read and its write.
template <typename T>
T atomicMin(T* to, T value) {
  const T before = *to;
  *to = value < before ? value : before;
  return before;
}
template <typename T>
T atomicMax(T* to, T value) {
  const T before = *to;
  *to = value > before ? value : before;
  return before;
}
template <typename T>
T atomicAdd(T* to, T value) {
  const T before = *to;
  *to = static_cast<T>(before + value);
  return before;
}

template <typename T>
T __ldg(const T* from) {
  return *from;
}
template <typename T>
T __ldcg(const T* from) {
  return *from;
}

// One rounding each, as written.
inline float __fmul_rn(float a, float b) { return a * b; }

inline unsigned __float_as_uint(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}
inline float __uint_as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

constexpr int __popc(unsigned bits) { return __builtin_popcount(bits); }

constexpr int min(int a, int b) { return b < a ? b : a; }
constexpr int max(int a, int b) { return a < b ? b : a; }
