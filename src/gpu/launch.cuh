// Launching kernels: the one path of attention, planner, combine and checks. The launch's shape is
// a struct; what a kernel needs besides is settled once a device (KernelSetup); grids may overlap
// by programmatic dependent launch (CUDA C++ Programming Guide, "Programmatic Dependent Launch and
// Synchronization").
#pragma once

#include <cuda_runtime.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/status.hpp"
#include "gpu/device.hpp"
#include "gpu/edge.hpp"

namespace seesaw::gpu {

struct LaunchShape {
  dim3 grid;
  dim3 block;
  size_t shared_bytes = 0;
  cudaStream_t stream = nullptr;
  Edge edge = Edge::kFull;
};

template <typename Params>
cudaError_t launch_kernel(void (*kernel)(Params), const LaunchShape& shape, const Params& params) {
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = shape.stream;
  config.attrs = &attribute;
  config.numAttrs = shape.edge == Edge::kProgrammatic ? 1 : 0;
  return cudaLaunchKernelEx(&config, kernel, params);
}

inline constexpr int kMostDynamicSharedBytes = -1;

// What a kernel must have, or must have got, before its first launch on a device.
struct KernelNeeds {
  const char* name;  // for messages
  // Beyond 48 KB a kernel has to ask for it. kMostDynamicSharedBytes: all that the device gives a
  // block, and as many blocks on an SM as that leaves room for.
  int dynamic_shared_bytes = 0;
  int registers = 0;  // that ptxas must have given a thread at least
};

// Settles a kernel's needs, once for each device.
class KernelSetup {
 public:
  KernelSetup(const void* kernel, const KernelNeeds& needs) : kernel_(kernel), needs_(needs) {}

  // For the current device, which is number `device`. After the first success a load and a test.
  // Thread-safe: two first calls both do it.
  Status prepare(int32_t device) {
    const std::atomic<uint64_t>& word = prepared_[word_of(device)];
    const bool done = (word.load(std::memory_order_acquire) & bit_of(device)) != 0;
    return done ? Status() : prepare_first(device);
  }

 private:
  static constexpr int kBits = 64;
  static_assert(kMaxDevices % kBits == 0);
  static size_t word_of(int32_t device) { return static_cast<size_t>(device) / kBits; }
  static uint64_t bit_of(int32_t device) { return uint64_t{1} << (device % kBits); }

  Status prepare_first(int32_t device);

  const void* kernel_;
  KernelNeeds needs_;
  std::atomic<uint64_t> prepared_[kMaxDevices / kBits] = {};  // a bit a device
};

// Launches an attention kernel on the current device, number `device`, with its needs settled.
// Asynchronous; checked.
template <auto kKernel, typename Params>
Status launch_attention(const KernelNeeds& needs, int32_t device, const LaunchShape& shape,
                        const Params& params) {
  static KernelSetup setup(reinterpret_cast<const void*>(kKernel), needs);
  SEESAW_RETURN_IF_ERROR(setup.prepare(device));
  return status_of(launch_kernel(kKernel, shape, params), needs.name,
                   "launching the attention kernel");
}

}  // namespace seesaw::gpu
