// seesaw_options, read and resolved: defaults and environment variables are filled in.
#pragma once

#include <cstdint>
#include <string>

#include "core/tensor.hpp"

namespace seesaw {

struct Options {
  Device device{SEESAW_CPU, 0};
  int32_t num_threads = 1;      // CPU workers, >= 1
  bool follow_threads = false;  // CPU: the caller left their number to the program's settings
  bool batch_invariant = false;
  bool check_data = false;  // also report negative lengths, and check device-side data
  std::string kernel;       // insisted on; empty = the first that can
  std::string tuning;       // a tuning file, or its text; empty = none
};

// A call's own memory and stream, checked against the plan.
using Call = seesaw_call;

}  // namespace seesaw
