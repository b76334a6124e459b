// How `seesaw compare` measures: all contenders of a group ready at once, a call of each in turn,
// round after round, so that what disturbs the machine disturbs all alike.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "compare/device_roofs.hpp"
#include "compare/layer.hpp"
#include "compare/shape.hpp"
#include "lab/statistics.hpp"
#include "laboratory.hpp"

namespace seesaw::tools {

// One contender at one setting.
struct Row {
  Setting setting;
  Contender contender;
  Prediction prediction;
  std::string why_not;  // empty: it was measured
  std::string backend;
  uint64_t converted_products = 0;
  uint64_t plan_workspace_bytes = 0;
  uint64_t peak_bytes = 0;  // measured over a plan and a run; 0: the system cannot tell
  Spread us;
  int64_t runs = 0;
  int64_t calls = 0;  // of a run
  // Multi-head attention's time / time, round by round; none in a group where it did not run.
  std::optional<Spread> speed_up;
  Roofs roofs;               // those that bound this row
  double bound_seconds = 0;  // max(operations / peak, bytes / read rate)

  bool measured() const { return why_not.empty(); }
  double seconds() const { return us.median * 1e-6; }
  double gflops() const { return prediction.operations / seconds() / 1e9; }
  double gbps() const { return prediction.bytes / seconds() / 1e9; }
  double fraction() const { return bound_seconds / seconds(); }
};

struct MeasureRules {
  double seconds = 1;  // to spend on a group's rounds
  int64_t fewest_rounds = 5;
  int64_t calls = 1;  // of a system, one behind the other; their mean is a run's time
  uint64_t seed = 0;
};

// Thrown out of a measurement that the user stops; what it has so far is dropped.
struct StoppedEarly {};

// Where all measuring happens.
struct Bench {
  Device& device;
  Place place;
  DeviceRoofs roofs;
  MeasureRules rules;
  std::function<bool()> stop;  // asked between calls; none: never

  void stop_if_wanted() const {
    if (stop && stop()) {
      throw StoppedEarly();
    }
  }
};

// The rows of one setting, in the order of `contenders`; speed-ups are over the first, if it is
// multi-head attention.
// `inputs_of`, if given, makes a contender's inputs and may change its layer; else they are random.
using MakeInputs = std::function<LayerInputs(const Contender& contender, BaselineDescriptor* d)>;
std::vector<Row> measure_group(const Bench& bench, const Setting& setting,
                               const std::vector<Contender>& contenders,
                               const MakeInputs& inputs_of = nullptr);

}  // namespace seesaw::tools
