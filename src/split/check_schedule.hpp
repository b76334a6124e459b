// Whether a host schedule is the one for these lengths: refuses buffers never filled, of another
// plan, of other lengths, or damaged, so that no kernel follows a piece out of its arrays.
#pragma once

#include <cstdint>

#include "base/status.hpp"
#include "split/split_kv.hpp"

namespace seesaw::split {

// Whether every schedule of this plan can number its pieces in 32 bits.
Status check_config(const SplitConfig& config);

// Whether the buffer holds a schedule of this plan, for whatever lengths: enough to list it, given
// that the caller got it from seesaw_plan_prepare.
Status check_schedule_header(const SplitConfig& config, const void* buffer);

// Builds the schedule again, comparing instead of writing: same cost as building it, allocates
// nothing if all is well. Lengths must be validated, `buffer` hold schedule_bytes(config).
Status check_schedule(const SplitConfig& config, const Lengths& lengths, int32_t batch,
                      const void* buffer);

}  // namespace seesaw::split
