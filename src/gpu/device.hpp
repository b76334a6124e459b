// What the host side of every CUDA kernel shares: which devices are here, the caller's current
// device kept, failures told in four parts, driver functions found at run time.
//
// The runtime is linked statically and libcuda not at all, so one binary starts on machines with
// and without a GPU: there, device_of() answers why not.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstdint>
#include <string>

#include "base/status.hpp"
#include "core/support.hpp"

namespace seesaw::gpu {

inline constexpr int32_t kMaxDevices = 128;  // ordinals beyond it are refused, not crashed on

// Numbers of one GPU, read once per process.
struct DeviceProperties {
  char name[256] = {};
  int32_t index = 0;
  int32_t compute_major = 0;
  int32_t compute_minor = 0;
  int32_t num_sms = 0;
  int32_t max_shared_bytes = 0;  // dynamic shared memory that one thread block may opt in to
  int64_t l2_bytes = 0;
  uint64_t memory_bytes = 0;
};

struct DeviceAnswer {
  const DeviceProperties* properties = nullptr;  // lives as long as the process; null if absent
  std::string why_not;                           // "no NVIDIA driver found", ...
};

// Properties of CUDA device `index`, or why there is none. Thread-safe; cached once found.
DeviceAnswer device_of(int32_t index);

// Whether CUDA device `index` runs this build's code for Hopper (sm_90a), or why not. Never an
// error.
Support runs_sm90(int32_t index);

// Whether it runs the code for GPUs with mma.sync of bfloat16 and cp.async, or why not. Never an
// error.
Support runs_sm80(int32_t index);

// Whether it runs the code for any GPU (cmake's seesaw_portable_cuda), or why not. Never an error.
Support runs_portable(int32_t index);

// Makes `index` the calling thread's current device, and the previous one again when it ends.
class DeviceGuard {
 public:
  explicit DeviceGuard(int32_t index);
  ~DeviceGuard();
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

  cudaError_t error() const { return error_; }  // cudaSuccess, or why the device was not selected

 private:
  int previous_ = -1;  // device to restore; -1: nothing to restore
  cudaError_t error_ = cudaSuccess;
};

// OK for cudaSuccess, else a device error: `where`: `what` failed, with CUDA's own name and text
// for it and what to do. Clears CUDA's last error when that is possible.
Status status_of(cudaError_t error, const char* where, const char* what);

// Driver entry points, fetched through the runtime.
struct Driver {
  decltype(&cuTensorMapEncodeTiled) tensor_map_encode_tiled = nullptr;
};

// The driver's functions, or null where there is no driver that has them. Thread-safe; cached once
// found: a driver that is not there yet is asked for again.
const Driver* driver();

}  // namespace seesaw::gpu
