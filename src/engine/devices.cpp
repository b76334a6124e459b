#include "engine/devices.hpp"

#include <omp.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "base/message.hpp"
#include "boundary/error.hpp"
#include "boundary/sized.hpp"
#include "cpu/amx.hpp"
#include "cpu/select.hpp"

#if defined(SEESAW_WITH_CUDA)
#include "gpu/device.hpp"
#endif

namespace seesaw::engine {
namespace {

std::string cpu_name() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    if (line.starts_with("model name")) {
      const size_t colon = line.find(": ");
      return colon == std::string::npos ? line : line.substr(colon + 2);
    }
  }
  return "CPU";
}

std::string cpu_features() {
  std::string features;
#if defined(__x86_64__)
  const auto add = [&](bool present, const char* name) {
    if (present) {
      features += features.empty() ? name : std::string(" ") + name;
    }
  };
  add(__builtin_cpu_supports("avx2"), "avx2");
  add(__builtin_cpu_supports("fma"), "fma");
  add(__builtin_cpu_supports("avx512f"), "avx512f");
  add(__builtin_cpu_supports("avx512bw"), "avx512bw");
  add(__builtin_cpu_supports("avx512bf16"), "avx512bf16");
  add(cpu::ask_for_amx() == cpu::AmxAnswer::kGranted, "amx");
#elif defined(__aarch64__)
  features = "neon";
#endif
  return features;
}

DeviceDescription describe_cpu() {
  DeviceDescription cpu;
  cpu.device = {SEESAW_CPU, 0};
  cpu.usable = true;
  cpu.num_units = omp_get_num_procs();
  cpu.memory_bytes = static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) *
                     static_cast<uint64_t>(sysconf(_SC_PAGE_SIZE));
  cpu.name = cpu_name();
  cpu.features = cpu_features() + "; multiplies bfloat16 with " + cpu::microkernel_description();
  return cpu;
}

void add_gpus(std::vector<DeviceDescription>& devices) {
  DeviceDescription gpu;
  gpu.device = {SEESAW_CUDA, 0};
#if defined(SEESAW_WITH_CUDA)
  for (int32_t index = 0;; ++index) {
    const gpu::DeviceAnswer answer = gpu::device_of(index);
    if (answer.properties == nullptr) {
      gpu.reason = answer.why_not;
      break;
    }
    const gpu::DeviceProperties& found = *answer.properties;
    const Support runs = gpu::runs_portable(index);
    devices.push_back({.device = {SEESAW_CUDA, index},
                       .usable = runs.supported,
                       .num_units = found.num_sms,
                       .memory_bytes = found.memory_bytes,
                       .name = found.name,
                       .features = fmt::format("compute capability {}.{}", found.compute_major,
                                               found.compute_minor),
                       .reason = runs.reason});
  }
  if (devices.back().device.type == SEESAW_CUDA) {
    return;
  }
#else
  gpu.reason = "this build has no CUDA kernels (nvcc was not found, or SEESAW_CUDA=OFF)";
#endif
  devices.push_back(gpu);
}

Status write_devices(seesaw_device_info* rows, uint64_t row_bytes, uint64_t capacity,
                     uint64_t* count) {
  SEESAW_RETURN_IF_ERROR(require_pointer("list_devices", count, "count"));
  SEESAW_RETURN_IF_ERROR(check_row_bytes("list_devices", row_bytes, sizeof(*rows)));
  if (capacity > 0) {
    SEESAW_RETURN_IF_ERROR(require_pointer("list_devices", rows, "rows"));
  }
  thread_local std::vector<DeviceDescription> devices;  // until this thread's next call
  devices = list_devices();
  for (uint64_t i = 0; i < std::min<uint64_t>(capacity, devices.size()); ++i) {
    const DeviceDescription& device = devices[i];
    write_row(seesaw_device_info{device.device, device.usable ? 1 : 0, device.num_units,
                                 device.memory_bytes, device.name.c_str(), device.features.c_str(),
                                 device.reason.c_str()},
              i, row_bytes, rows);
  }
  *count = devices.size();
  return {};
}

}  // namespace

std::vector<DeviceDescription> list_devices() {
  std::vector<DeviceDescription> devices = {describe_cpu()};
  add_gpus(devices);
  return devices;
}

std::string device_key(const Device& device) {
  if (device.type == SEESAW_CPU) {
    static const std::string name = cpu_name();
    return fmt::format("{}, {} CPUs, {}", name, omp_get_num_procs(), cpu::microkernel_name());
  }
#if defined(SEESAW_WITH_CUDA)
  const gpu::DeviceAnswer answer = gpu::device_of(device.index);
  if (answer.properties != nullptr) {
    return fmt::format("{}, {} SMs, compute capability {}.{}", answer.properties->name,
                       answer.properties->num_sms, answer.properties->compute_major,
                       answer.properties->compute_minor);
  }
#endif
  return "no such device";
}

}  // namespace seesaw::engine

extern "C" seesaw_status seesaw_list_devices(seesaw_device_info* rows, uint64_t row_bytes,
                                             uint64_t capacity, uint64_t* count) {
  return seesaw::at_boundary("list_devices", [&] {
    return seesaw::engine::write_devices(rows, row_bytes, capacity, count);
  });
}
