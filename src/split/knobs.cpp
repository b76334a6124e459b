#include "split/knobs.hpp"

#include "base/message.hpp"

namespace seesaw::split {

Status apply_knobs(KnobValues knobs, SplitConfig* config) {
  if (knobs.empty()) {
    return {};
  }
  if (knobs[kNumWorkers] > config->num_workers) {
    return invalid_argument(four_part_message(
        "tuning_file", fmt::format("num_workers = {}", knobs[kNumWorkers]),
        fmt::format("1 to {} for this problem", config->num_workers), "Run `seesaw tune` again."));
  }
  const auto set = [&](SplitKnob knob, int32_t* to) {
    *to = knobs[knob] == kUnset ? *to : knobs[knob];
  };
  set(kNumWorkers, &config->num_workers);
  set(kPieceCostTiles, &config->piece_cost_tiles);
  set(kSplitCostTiles, &config->split_cost_tiles);
  return {};
}

}  // namespace seesaw::split
