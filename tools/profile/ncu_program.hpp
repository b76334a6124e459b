// Nsight Compute, started: the program, and what it reads of another program's kernels.
#pragma once

#include <string>
#include <vector>

#include "profile/ncu.hpp"

namespace seesaw::tools {

// What ncu read, or why it read nothing.
struct NcuResult {
  std::vector<KernelMetrics> launches;
  std::string csv;      // ncu's own table
  std::string why_not;  // empty: it worked
};

// Runs `program` under `ncu`, or, if that is empty, under the ncu of PATH or of the CUDA toolkit.
// Every kernel that the program launches is read.
NcuResult read_counters(const std::string& ncu, const std::vector<std::string>& program);

// The path of the program that runs this.
std::string own_program();

}  // namespace seesaw::tools
