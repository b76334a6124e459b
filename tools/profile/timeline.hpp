// What a traced call says: shares of the steps, who waited for whom, and the picture that Perfetto
// and Chrome (chrome://tracing) show. Pure functions of spans.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "lab/statistics.hpp"
#include "laboratory.hpp"
#include "seesaw/seesaw.hpp"

namespace seesaw::tools {

// All spans of one step.
struct StepSummary {
  std::string step;
  int64_t lanes = 0;       // that have it
  bool of_device = false;  // no lane's
  double share = 0;        // of the time of all lanes; of the whole call, if of_device
  Spread lane_us;          // a lane's sum
  double begin_us = 0;     // of the first
  double end_us = 0;       // of the last
};

// All spans of one step of tiles, which lie inside of the steps of lanes. Of kernels that note
// tiles.
struct TileStepSummary {
  std::string step;
  int64_t spans = 0;  // lanes' first tiles apart, which wait for the start
  Spread us;          // of one span
};

// A lane is a worker on the CPU, a warpgroup of a worker's thread block on a GPU.
struct LaneSummary {
  int32_t worker = 0;
  int32_t part = 0;
  double begin_us = 0;
  double end_us = 0;
  double working_us = 0;  // in steps that are no waiting
};

struct TimelineSummary {
  double total_us = 0;             // from the start of the call to the last end
  double lanes_us = 0;             // from the first lane's beginning to the last one's end
  std::vector<StepSummary> steps;  // in order of their first appearance
  std::vector<LaneSummary> lanes;
  std::vector<TileStepSummary> tile_steps;
  double working_share = 0;     // of lanes x lanes_us
  double end_over_mean = 0;     // (last end - mean end) / lanes_us: how uneven the load is
  double steady_us_a_tile = 0;  // GPU: of pieces of more than two tiles; 0: none
  bool all_empty = false;       // no piece has a tile
};

TimelineSummary summarise(const std::vector<seesaw_trace_span>& spans,
                          const std::vector<seesaw_piece>& pieces);

// The summary as tables and sentences.
std::string timeline_text(const TimelineSummary& summary);
std::vector<std::string> timeline_reading(const TimelineSummary& summary);
nlohmann::ordered_json timeline_json(const TimelineSummary& summary);

// The Trace Event Format: one complete event a span, a process a worker, a thread a part.
nlohmann::ordered_json chrome_trace(const std::vector<seesaw_trace_span>& spans,
                                    const std::string& title);

}  // namespace seesaw::tools
