// The C ABI of the device list.
#include <algorithm>
#include <cstdio>

#include "base/message.hpp"
#include "boundary/error.hpp"
#include "engine/devices.hpp"

namespace seesaw::engine {
namespace {

template <size_t Size>
void copy_text(char (&to)[Size], const std::string& from) {
  std::snprintf(to, Size, "%s", from.c_str());
}

Status write_devices(seesaw_device_info* rows, uint64_t capacity, uint64_t* count) {
  if (count == nullptr || (capacity > 0 && rows == nullptr)) {
    return invalid_argument(four_part_message("list_devices", "rows or count = NULL",
                                              "valid pointers", "Pass their addresses."));
  }
  const auto devices = engine::list_devices();
  for (uint64_t i = 0; i < std::min<uint64_t>(capacity, devices.size()); ++i) {
    const engine::DeviceDescription& device = devices[i];
    rows[i] = {};
    rows[i].device = {static_cast<int32_t>(device.device.type), device.device.index};
    rows[i].usable = device.usable ? 1 : 0;
    rows[i].num_units = device.num_units;
    rows[i].memory_bytes = device.memory_bytes;
    copy_text(rows[i].name, device.name);
    copy_text(rows[i].features, device.features);
    copy_text(rows[i].reason, device.reason);
  }
  *count = devices.size();
  return {};
}

}  // namespace
}  // namespace seesaw::engine

extern "C" seesaw_status seesaw_list_devices(seesaw_device_info* rows, uint64_t capacity,
                                             uint64_t* count) {
  return seesaw::at_boundary("list_devices",
                             [&] { return seesaw::engine::write_devices(rows, capacity, count); });
}
