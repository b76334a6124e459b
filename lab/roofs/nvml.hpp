// Clock and power of the GPU while something runs, from NVML found at run time.
#pragma once

#include <string>
#include <vector>

namespace seesaw::lab {

struct PowerSample {
  double clock_mhz = 0.0;
  double power_w = 0.0;
};

class Nvml {
 public:
  Nvml();  // device 0; every query answers zero where there is no NVML

  PowerSample sample() const;
  std::string driver_version() const;
  double power_limit_w() const;

 private:
  void* device_ = nullptr;
  void* library_ = nullptr;
};

// Mean of the samples; zeros if there are none.
PowerSample mean_of(const std::vector<PowerSample>& samples);

}  // namespace seesaw::lab
