#include "lab/roofs/nvml.hpp"

#include <dlfcn.h>

namespace seesaw::lab {
namespace {

// NVML's C interface as far as it is used here (NVML API Reference): 0 is success.
constexpr int kClockSm = 1;
constexpr unsigned kFieldPowerInstantMw = 186;

struct FieldValue {
  unsigned field_id;
  unsigned scope_id;
  long long timestamp;
  long long latency_us;
  int value_type;
  int status;
  union {
    double d;
    unsigned ui;
    unsigned long long ull;
  } value;
};

template <typename Function>
Function find(void* library, const char* name) {
  return library == nullptr ? nullptr : reinterpret_cast<Function>(dlsym(library, name));
}

}  // namespace

Nvml::Nvml() : library_(dlopen("libnvidia-ml.so.1", RTLD_NOW)) {
  const auto init = find<int (*)()>(library_, "nvmlInit_v2");
  const auto handle = find<int (*)(unsigned, void**)>(library_, "nvmlDeviceGetHandleByIndex_v2");
  if (init == nullptr || handle == nullptr || init() != 0 || handle(0, &device_) != 0) {
    device_ = nullptr;
  }
}

PowerSample Nvml::sample() const {
  PowerSample sample;
  if (device_ == nullptr) {
    return sample;
  }
  unsigned clock = 0;
  const auto clock_info = find<int (*)(void*, int, unsigned*)>(library_, "nvmlDeviceGetClockInfo");
  if (clock_info != nullptr && clock_info(device_, kClockSm, &clock) == 0) {
    sample.clock_mhz = clock;
  }
  FieldValue field = {};
  field.field_id = kFieldPowerInstantMw;
  const auto fields = find<int (*)(void*, int, FieldValue*)>(library_, "nvmlDeviceGetFieldValues");
  if (fields != nullptr && fields(device_, 1, &field) == 0 && field.status == 0) {
    sample.power_w = field.value.ui / 1e3;
  }
  return sample;
}

std::string Nvml::driver_version() const {
  char text[96] = {};
  const auto version = find<int (*)(char*, unsigned)>(library_, "nvmlSystemGetDriverVersion");
  return device_ != nullptr && version != nullptr && version(text, sizeof(text)) == 0 ? text : "";
}

double Nvml::power_limit_w() const {
  unsigned limit_mw = 0;
  const auto limit = find<int (*)(void*, unsigned*)>(library_, "nvmlDeviceGetEnforcedPowerLimit");
  return device_ != nullptr && limit != nullptr && limit(device_, &limit_mw) == 0 ? limit_mw / 1e3
                                                                                  : 0.0;
}

PowerSample mean_of(const std::vector<PowerSample>& samples) {
  PowerSample mean;
  for (const PowerSample& sample : samples) {
    mean.clock_mhz += sample.clock_mhz / static_cast<double>(samples.size());
    mean.power_w += sample.power_w / static_cast<double>(samples.size());
  }
  return mean;
}

}  // namespace seesaw::lab
