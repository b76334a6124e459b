// The emulator's side of ladder/runtime.cuh: CUDA's words, and a launch that runs fibers.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/status.hpp"
#include "ladder/problem.hpp"
#include "simt.hpp"

// CUDA's own spelling of these is fixed by the sources under test.
#define __global__
#define __device__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define __shared__ static  // blocks run one after the other

#define threadIdx (::seesaw::emulator::thread_index)
#define blockIdx (::seesaw::emulator::block_index)

inline void __syncthreads() {
  using namespace seesaw::emulator;
  arrive_and_wait(named_barrier(0), block_threads());
}

template <typename T>
T __shfl_sync(unsigned, T value, int lane) {
  const auto view = seesaw::emulator::exchange(&value, sizeof(value));
  T other;
  std::memcpy(&other, view.bytes + static_cast<size_t>(lane) * seesaw::emulator::kExchangeBytes,
              sizeof(other));
  return other;
}

template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int distance) {
  return __shfl_sync(mask, value, static_cast<int>(threadIdx.x % 32) ^ distance);
}

inline bool __any_sync(unsigned, bool value) {
  const auto view = seesaw::emulator::exchange(&value, sizeof(value));
  bool any = false;
  for (size_t lane = 0; lane < 32; ++lane) {
    any = any || view.bytes[lane * seesaw::emulator::kExchangeBytes] != 0;
  }
  return any;
}

inline void __syncwarp() { (void)__any_sync(~0U, false); }

namespace seesaw::ladder {

inline unsigned char* dynamic_shared() { return emulator::shared_memory(); }

struct LaunchShape {
  int blocks_x = 1;
  int blocks_y = 1;
  int threads = 1;
  size_t shared_bytes = 0;
};

template <typename... Parameters>
Status allow_shared(void (*)(Parameters...), size_t bytes) {
  if (bytes > emulator::kSharedBytes) {
    return device_error("emulator: shared memory = " + std::to_string(bytes) +
                        " bytes, allowed: up to 232448. Use smaller tiles.");
  }
  return {};
}

template <typename... Parameters, typename... Arguments>
Status launch(void (*kernel)(Parameters...), const LaunchShape& shape, Stream,
              const Arguments&... arguments) {
  SEESAW_RETURN_IF_ERROR(allow_shared(kernel, shape.shared_bytes));
  emulator::run_grid(static_cast<unsigned>(shape.blocks_x), static_cast<unsigned>(shape.blocks_y),
                     static_cast<unsigned>(shape.threads), [&] { kernel(arguments...); });
  return {};
}

}  // namespace seesaw::ladder
