// What a tuning file says of a kernel's plan: finds the entry for the device, the kernel and the
// problem.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.hpp"
#include "core/operation.hpp"

namespace seesaw::engine {

struct Tuning {
  bool tuned = false;
  std::string text;             // what is in use, or why nothing is
  std::string key;              // JSON: what an entry has to match
  std::vector<int32_t> values;  // of the kernel's knobs, if tuned
};

// For a supported problem. A tuning that cannot be read is an error; one that was measured for
// something else is not used. Batch-invariant plans never use one: their splits must be the same
// everywhere. Files are read again only when they change.
Status find_tuning(const Operation& operation, const Kernel& kernel, const void* problem,
                   const Options& options, Tuning* found);

}  // namespace seesaw::engine
