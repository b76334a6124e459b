// All that `seesaw compare` measures, in order.
#pragma once

#include <vector>

#include "compare/report.hpp"
#include "compare/request.hpp"
#include "lab/device/device.hpp"
#include "laboratory.hpp"

namespace seesaw::tools {

// Measures `settings`, then what the options add (precision, fits, the notes' claims), into
// `report`, with a line of progress.
void measure_all(const CompareOptions& options, const std::vector<Setting>& settings,
                 Device& device, CompareReport* report);

}  // namespace seesaw::tools
