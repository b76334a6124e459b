#include "gpu/device.hpp"

#include <array>
#include <atomic>
#include <cstdio>
#include <mutex>

namespace seesaw::gpu {
namespace {

struct DeviceCache {
  std::mutex filling;
  std::array<DeviceProperties, kMaxDevices> properties;
  std::array<std::atomic<bool>, kMaxDevices> known{};
};

DeviceCache& cache() {
  static DeviceCache instance;
  return instance;
}

std::string describe(cudaError_t error) {
  return std::string(cudaGetErrorName(error)) + " (" + cudaGetErrorString(error) + ")";
}

// The number of GPUs, or why it is not known.
int device_count(std::string* why_not) {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaSuccess) {
    if (count == 0) {
      *why_not = "no CUDA device found";
    }
    return count;
  }
  cudaGetLastError();  // not having a GPU is no failure of the caller's
  if (error == cudaErrorInsufficientDriver) {
    *why_not = "no NVIDIA driver found, or one older than this build's CUDA runtime needs";
  } else if (error == cudaErrorNoDevice) {
    *why_not = "no CUDA device found";
  } else {
    *why_not = "CUDA did not start: " + describe(error);
  }
  return 0;
}

cudaError_t read_properties(int32_t index, DeviceProperties* result) {
  struct Wanted {
    cudaDeviceAttr attribute;
    int32_t* value;
  };
  int32_t l2_bytes = 0;
  const Wanted wanted[] = {
      {cudaDevAttrComputeCapabilityMajor, &result->compute_major},
      {cudaDevAttrComputeCapabilityMinor, &result->compute_minor},
      {cudaDevAttrMultiProcessorCount, &result->num_sms},
      {cudaDevAttrMaxSharedMemoryPerBlockOptin, &result->max_shared_bytes},
      {cudaDevAttrL2CacheSize, &l2_bytes},
  };
  for (const Wanted& want : wanted) {
    const cudaError_t error = cudaDeviceGetAttribute(want.value, want.attribute, index);
    if (error != cudaSuccess) {
      return error;
    }
  }
  cudaDeviceProp all;
  const cudaError_t error = cudaGetDeviceProperties(&all, index);
  if (error != cudaSuccess) {
    return error;
  }
  std::snprintf(result->name, sizeof(result->name), "%s", all.name);
  result->index = index;
  result->l2_bytes = l2_bytes;
  result->memory_bytes = all.totalGlobalMem;
  return cudaSuccess;
}

Support too_old_or_new(const DeviceProperties& p, const char* supported) {
  return Support::no(std::string(p.name) + " has compute capability " +
                     std::to_string(p.compute_major) + "." + std::to_string(p.compute_minor) +
                     ", supported: " + supported);
}

Support runs_from(int32_t index, int32_t major, int32_t minor, const char* supported) {
  const DeviceAnswer device = device_of(index);
  if (device.properties == nullptr) {
    return Support::no(device.why_not);
  }
  const DeviceProperties& p = *device.properties;
  const bool recent =
      p.compute_major > major || (p.compute_major == major && p.compute_minor >= minor);
  return recent ? Support::yes() : too_old_or_new(p, supported);
}

}  // namespace

DeviceAnswer device_of(int32_t index) {
  if (index < 0 || index >= kMaxDevices) {
    return {nullptr, "CUDA device " + std::to_string(index) + " is out of range"};
  }
  DeviceCache& all = cache();
  const size_t slot = static_cast<size_t>(index);
  if (all.known[slot].load(std::memory_order_acquire)) {
    return {&all.properties[slot], {}};
  }
  const std::lock_guard<std::mutex> lock(all.filling);
  if (all.known[slot].load(std::memory_order_relaxed)) {
    return {&all.properties[slot], {}};
  }
  std::string why_not;
  const int count = device_count(&why_not);
  if (count == 0) {
    return {nullptr, why_not};
  }
  if (index >= count) {
    return {nullptr, "CUDA device " + std::to_string(index) + " does not exist, there are " +
                         std::to_string(count)};
  }
  const cudaError_t error = read_properties(index, &all.properties[slot]);
  if (error != cudaSuccess) {
    cudaGetLastError();
    return {nullptr, "CUDA device " + std::to_string(index) + ": " + describe(error)};
  }
  all.known[slot].store(true, std::memory_order_release);
  return {&all.properties[slot], {}};
}

Support runs_sm90(int32_t index) {
  const DeviceAnswer device = device_of(index);
  if (device.properties == nullptr) {
    return Support::no(device.why_not);
  }
  const DeviceProperties& p = *device.properties;
  const bool hopper = p.compute_major == 9 && p.compute_minor == 0;
  return hopper ? Support::yes() : too_old_or_new(p, "9.0 (Hopper)");
}

Support runs_sm80(int32_t index) { return runs_from(index, 8, 0, "8.0 (Ampere) and later"); }

Support runs_portable(int32_t index) { return runs_from(index, 7, 5, "7.5 (Turing) and later"); }

DeviceGuard::DeviceGuard(int32_t index) {
  int current = -1;
  error_ = cudaGetDevice(&current);
  if (error_ == cudaSuccess && current != index) {
    error_ = cudaSetDevice(index);
    if (error_ == cudaSuccess) {
      previous_ = current;
    }
  }
}

DeviceGuard::~DeviceGuard() {
  if (previous_ >= 0) {
    cudaSetDevice(previous_);
  }
}

Status status_of(cudaError_t error, const char* where, const char* what) {
  if (error == cudaSuccess) {
    return {};
  }
  cudaGetLastError();
  return device_error(std::string(where) + ": " + what + " failed with " + describe(error) +
                      ", allowed: cudaSuccess. The error may come from earlier work on this "
                      "device; run with SEESAW_CHECK=1 or under compute-sanitizer to find it.");
}

const Driver* driver() {
  static Driver found;
  static std::atomic<bool> known = false;
  static std::mutex asking;
  if (known.load(std::memory_order_acquire)) {
    return &found;
  }
  const std::lock_guard<std::mutex> lock(asking);
  if (known.load(std::memory_order_relaxed)) {
    return &found;
  }
  void* function = nullptr;
  cudaDriverEntryPointQueryResult answer = cudaDriverEntryPointSymbolNotFound;
  const cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function,
                                                             12000, cudaEnableDefault, &answer);
  if (error != cudaSuccess || answer != cudaDriverEntryPointSuccess) {
    cudaGetLastError();
    return nullptr;
  }
  found.tensor_map_encode_tiled = reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function);
  known.store(true, std::memory_order_release);
  return &found;
}

}  // namespace seesaw::gpu
