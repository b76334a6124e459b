// A schedule as something to look at: who does what, and how even the load is.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lab/device/device.hpp"
#include "laboratory.hpp"
#include "seesaw/ops/dense_decode.h"

namespace seesaw::tools {

struct ScheduleReport {
  std::vector<seesaw_piece> pieces;  // in order of worker
  int32_t num_workers = 1;
  std::vector<int64_t> worker_tiles;  // [num_workers]
  int64_t total_tiles = 0;
  int64_t busiest_tiles = 0;
  int64_t split_sequences = 0;
  int64_t partials = 0;

  // Busiest over mean: 1 is perfect.
  double imbalance() const;
};

// Builds the schedule of `plan` for these lengths on `device`, and brings it back.
ScheduleReport make_schedule(Device& device, const DenseDecode& plan,
                             const std::vector<int32_t>& seq_lens);

// One line per worker, at most `columns` wide; a sequence is a letter, and a colour if wanted.
std::string terminal_picture(const ScheduleReport& report, int columns, bool colour);

// The same as a picture for a browser, with lengths and tiles on hover.
std::string svg_picture(const ScheduleReport& report, const std::string& title);

}  // namespace seesaw::tools
