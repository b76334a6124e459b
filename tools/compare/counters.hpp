// A GPU's hardware counters of a layer's call, for the study notes' claims about them. Nsight
// Compute reads the counters of other programs, so the command runs itself under it.
#pragma once

#include <string>
#include <vector>

#include "compare/shape.hpp"
#include "lab/device/device.hpp"
#include "laboratory.hpp"
#include "profile/ncu.hpp"

namespace seesaw::tools {

// The notes' shape, (1, 2048, 32, 64) in float32.
Setting counters_setting();

// Counters of one layer there.
struct LayerCounters {
  Contender contender;
  std::vector<KernelMetrics> launches;  // of one call, in order
  KernelMetrics whole;                  // of them all
};

struct CountersReport {
  std::vector<LayerCounters> layers;
  std::string why_not;  // empty: they were read
};

// Of multi-head attention, traditional MLA and its chunked form. `ncu` as in read_counters.
CountersReport measure_counters(const std::string& ncu, const Device& device);

// What ncu looks at: one call of the layer called `system` in the library, and nothing else.
// Throws Failure for another name.
void run_for_counters(const std::string& system, Device& device);

}  // namespace seesaw::tools
