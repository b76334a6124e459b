#include "compare/memory.hpp"

#include <malloc.h>

#include <cstdlib>
#include <fstream>

#include "machine.hpp"
#ifdef SEESAW_WITH_CUDA
#include <cuda_runtime_api.h>
#endif

namespace seesaw::tools {
namespace {

// A line of /proc/self/status in bytes, 0 if it is missing.
uint64_t status_bytes(const std::string& key) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(key, 0) == 0) {
      return std::strtoull(line.c_str() + key.size(), nullptr, 10) * 1024;
    }
  }
  return 0;
}

// Makes the peak start at what is resident now (proc(5), clear_refs: 5).
bool reset_peak() {
  std::ofstream file("/proc/self/clear_refs");
  file << "5" << std::flush;
  return file.good();
}

uint64_t gpu_free_bytes() {
#ifdef SEESAW_WITH_CUDA
  size_t free = 0;
  size_t total = 0;
  if (cudaMemGetInfo(&free, &total) == cudaSuccess) {
    return free;
  }
#endif
  return 0;
}

}  // namespace

MemoryMeter::MemoryMeter(const Device& device) : host_(device.is_host()) {
  if (host_) {
    malloc_trim(0);  // memory that was freed earlier must not hide what is taken now
    usable_ = reset_peak();
    start_bytes_ = status_bytes("VmHWM:");
  } else {
    start_bytes_ = gpu_free_bytes();
    usable_ = start_bytes_ > 0;
  }
}

uint64_t MemoryMeter::growth_bytes() const {
  if (host_) {
    const uint64_t peak = status_bytes("VmHWM:");
    return peak > start_bytes_ ? peak - start_bytes_ : 0;
  }
  const uint64_t left = gpu_free_bytes();
  return start_bytes_ > left ? start_bytes_ - left : 0;
}

const char* MemoryMeter::method(const Device& device) {
  return device.is_host() ? "growth of the process's peak resident memory over a plan and a run, "
                            "after a first one"
                          : "fall of the GPU's free memory over a plan, its workspace and a run, "
                            "after a first one";
}

uint64_t free_bytes(const Device& device) {
  return device.is_host() ? available_memory_bytes() : gpu_free_bytes();
}

}  // namespace seesaw::tools
