// All that `seesaw compare` measures, in order.
#pragma once

#include <functional>
#include <vector>

#include "compare/report.hpp"
#include "compare/request.hpp"
#include "lab/device/device.hpp"
#include "laboratory.hpp"

namespace seesaw::tools {

struct MeasureControl {
  std::function<bool()> stop;                      // whether to end early
  std::function<void(const CompareReport&)> keep;  // after each step: what is there so far
};

// Measures `settings`, then what the options add (precision, fits, the notes' claims), into
// `report`, with an estimate first and then progress. Stopped early, the report names what it
// leaves out.
void measure_all(const CompareOptions& options, const std::vector<Setting>& settings,
                 Device& device, const MeasureControl& control, CompareReport* report);

}  // namespace seesaw::tools
