#include "runtime.hpp"

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <string>
#include <utility>

namespace seesaw::emulator {
namespace {

struct Launch {
  Grid grid;
  std::function<void()> thread;
};

std::deque<Launch> stream;  // launched, not run: one, or one and another that depends on it
std::string last_fault;

void run_first() {
  const Launch launch = std::move(stream.front());
  stream.pop_front();
  run_grid(launch.grid, launch.thread);
}

// Answers like the runtime: an error instead of an exception.
template <typename Work>
cudaError_t attempt(Work work) {
  try {
    work();
    return cudaSuccess;
  } catch (const Fault& found) {
    last_fault = found.what();
    return cudaErrorLaunchFailure;
  }
}

}  // namespace

void finish_stream() {
  std::deque<Launch> all = std::exchange(stream, {});
  if (all.empty()) return;
  Launch last = std::move(all.back());
  all.pop_back();
  if (!all.empty()) {
    last.grid.previous = [first = std::move(all.front())] { run_grid(first.grid, first.thread); };
  }
  run_grid(last.grid, last.thread);
}

}  // namespace seesaw::emulator

using seesaw::emulator::attempt;
using seesaw::emulator::finish_stream;

cudaError_t emulated_launch(const cudaLaunchConfig_t& config, std::function<void()> thread) {
  using namespace seesaw::emulator;
  return attempt([&] {
    const bool programmatic = config.numAttrs > 0;
    if (!programmatic) finish_stream();
    // The grid before the last one has ended: the last one waits for it before it releases others.
    while (stream.size() > 1) run_first();
    if (config.blockDim.y != 1 || config.blockDim.z != 1) fault("blocks of one dimension only");
    stream.push_back({.grid = {.blocks = {config.gridDim.x, config.gridDim.y, config.gridDim.z},
                               .threads = config.blockDim.x,
                               .shared_bytes = config.dynamicSmemBytes,
                               .edge = programmatic ? Edge::kProgrammatic : Edge::kFull},
                      .thread = std::move(thread)});
  });
}

const char* cudaGetErrorName(cudaError_t error) {
  return error == cudaErrorLaunchFailure ? "cudaErrorLaunchFailure"
         : error == cudaSuccess          ? "cudaSuccess"
                                         : "an error";
}
const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorLaunchFailure ? seesaw::emulator::last_fault.c_str() : "";
}
cudaError_t cudaGetLastError() { return cudaSuccess; }

// ---- the device

namespace {
constexpr int kSms = 4;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* index) {
  *index = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int index) { return index == 0 ? cudaSuccess : cudaErrorInvalidDevice; }
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor:
      *value = 9;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = 0;
      break;
    case cudaDevAttrMultiProcessorCount:
      *value = kSms;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(seesaw::emulator::kSharedBytes);
      break;
    case cudaDevAttrL2CacheSize:
      *value = 50 << 20;
      break;
  }
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  std::snprintf(properties->name, sizeof(properties->name), "emulated Hopper");
  properties->totalGlobalMem = size_t{1} << 30;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  constexpr size_t kAlignment = 256;
  *memory = std::aligned_alloc(kAlignment, (bytes + kAlignment) / kAlignment * kAlignment);
  std::memset(*memory, 0xFF, bytes);
  return cudaSuccess;
}
cudaError_t cudaFree(void* memory) {
  const cudaError_t error = attempt(finish_stream);  // as it waits for the device
  std::free(memory);
  return error;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind,
                            cudaStream_t) {
  return attempt([&] {
    finish_stream();
    std::memcpy(to, from, bytes);
  });
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t) {
  return attempt([&] {
    finish_stream();
    std::memset(to, value, bytes);
  });
}

// There is one stream.
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = nullptr;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t) { return attempt(finish_stream); }
cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  *status = cudaStreamCaptureStatusNone;
  return cudaSuccess;
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode*) { return cudaSuccess; }

// Never freed, like what the library allocates with it.
cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned) {
  *memory = ::operator new(bytes);
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute attribute, int value) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  return static_cast<size_t>(value) <= seesaw::emulator::kSharedBytes ? cudaSuccess
                                                                      : cudaErrorInvalidValue;
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
  attributes->numRegs = 168;
  return cudaSuccess;
}

cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned,
                                             unsigned long long,
                                             cudaDriverEntryPointQueryResult* result) {
  // SEESAW_EMULATOR_LATE_DRIVER: the first question comes too early, as in a process that has no
  // context yet.
  static bool late = std::getenv("SEESAW_EMULATOR_LATE_DRIVER") != nullptr;
  const bool known = std::string(name) == "cuTensorMapEncodeTiled" && !late;
  late = false;
  *function = known ? reinterpret_cast<void*>(&cuTensorMapEncodeTiled) : nullptr;
  *result = known ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}

CUresult cuTensorMapEncodeTiled(CUtensorMap* map, CUtensorMapDataType, cuuint32_t rank, void* data,
                                const cuuint64_t* shape, const cuuint64_t* stride_bytes,
                                const cuuint32_t* box, const cuuint32_t* element_stride,
                                CUtensorMapInterleave, CUtensorMapSwizzle, CUtensorMapL2promotion,
                                CUtensorMapFloatOOBfill) {
  constexpr cuuint64_t kUnit = 16;
  bool allowed = rank == 5 && reinterpret_cast<uintptr_t>(data) % kUnit == 0 && box[0] * 2 <= 128 &&
                 box[0] * 2 % kUnit == 0;
  *map = {.data = static_cast<const char*>(data), .shape = {}, .stride_bytes = {2}, .box = {}};
  for (size_t i = 0; allowed && i < 5; ++i) {
    allowed = shape[i] >= 1 && shape[i] <= (cuuint64_t{1} << 32) && box[i] >= 1 && box[i] <= 256 &&
              element_stride[i] == 1;
    map->shape[i] = static_cast<int64_t>(shape[i]);
    map->box[i] = static_cast<int32_t>(box[i]);
    if (i == 0) continue;
    const cuuint64_t stride = stride_bytes[i - 1];
    allowed = allowed && stride % kUnit == 0 && stride < (cuuint64_t{1} << 40);
    map->stride_bytes[i] = static_cast<int64_t>(stride);
  }
  return allowed ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
