#include "compare/counters.hpp"

#include <algorithm>

#include "compare/layer.hpp"
#include "compare/request.hpp"
#include "error.hpp"
#include "profile/ncu_program.hpp"

namespace seesaw::tools {

Setting counters_setting() {
  Setting setting;
  setting.len = 2048;
  setting.heads = 32;
  return setting;
}

CountersReport measure_counters(const std::string& ncu, const Device& device) {
  CountersReport report;
  for (const Contender& contender : claim_contenders()) {
    const NcuResult result =
        read_counters(ncu, {own_program(), "compare", "--device", device_text(device.id()),
                            "--for-counters", name_of(contender.system)});
    if (!result.why_not.empty()) {
      report.why_not = result.why_not;
      return report;
    }
    report.layers.push_back({contender, result.launches, whole_call(result.launches)});
  }
  return report;
}

void run_for_counters(const std::string& system, Device& device) {
  const std::vector<Contender> contenders = claim_contenders();
  const auto found = std::find_if(contenders.begin(), contenders.end(),
                                  [&](const Contender& c) { return name_of(c.system) == system; });
  if (found == contenders.end()) {
    throw bad_input({"--for-counters", printable(system), "allowed: a layer of the notes' claims",
                     "Leave it out: the command runs itself with it."});
  }
  const BaselineDescriptor d = layer_of(counters_setting(), *found, {device.id(), 0});
  Layer layer(device, d, random_inputs(d, 0));
  const DeviceBuffer workspace(device, layer.workspace_bytes());
  layer.use(workspace.data(), workspace.size_bytes());
  layer.run();
  device.synchronise();
}

}  // namespace seesaw::tools
