// What `seesaw bench` measures: cases, and how one is timed.
#pragma once

#include <cstdint>
#include <string>

#include "lab/device/device.hpp"
#include "lab/pages.hpp"
#include "lab/statistics.hpp"
#include "lab/work.hpp"
#include "laboratory.hpp"

namespace seesaw::tools {

enum class CacheState { kWarm, kCold };

struct BenchCase {
  seesaw_dense_decode_problem problem;  // complete, but for the block table
  seesaw_options options;
  LengthRule lengths;
  uint64_t seed = 0;
  CacheState cache = CacheState::kWarm;
  double seconds = 0.5;          // to spend on the runs
  int64_t cache_size_bytes = 0;  // of the last level, for kCold
};

struct BenchResult {
  std::string kernel;
  uint64_t workspace_bytes = 0;
  Work work;
  Spread run_us;
  Spread prepare_us;
  int64_t runs = 0;
  int64_t copies = 1;  // of the tensors, gone through in turn
};

// Throws Failure or Error for lengths and problems that `measure` could not run.
void require_plan(const BenchCase& item);

BenchResult measure(Device& device, const BenchCase& item);

}  // namespace seesaw::tools
