// What `seesaw bench` measures: cases, and how one is timed.
#pragma once

#include <cstdint>
#include <vector>

#include "device.hpp"
#include "figures.hpp"
#include "options.hpp"
#include "statistics.hpp"

namespace seesaw::tools {

enum class CacheState { kWarm, kCold };

struct BenchCase {
  SyntheticShape shape;
  int64_t batch = 1;
  LengthRule lengths;
  DenseDecodeDescriptor where;  // device, flags, kernel, threads and tuning; shapes are filled in
  CacheState cache = CacheState::kWarm;
  double seconds = 0.5;          // to spend on the runs
  int64_t cache_size_bytes = 0;  // of the last level, for kCold
};

struct BenchResult {
  DenseDecodeDescriptor problem;
  seesaw_dense_decode_plan_info plan{};
  Figures figures;
  Spread run_us;
  Spread schedule_us;
  int64_t runs = 0;
  int64_t copies = 1;  // of the tensors, gone through in turn
};

// Throws Failure or Error for lengths and problems that `measure` could not run.
void require_plan(const BenchCase& item);

BenchResult measure(Device& device, const BenchCase& item);

}  // namespace seesaw::tools
