// Kernels that the environment takes out of the choice: SEESAW_DISABLE=sm90,cpu.dense_decode.
#pragma once

#include <string_view>

namespace seesaw::engine {

// The entry of `list` that names `kernel`, or an empty view. Entries are separated by commas,
// spaces around them do not count; an entry is a kernel's name or its first words: "sm90" names
// "sm90.dense_decode.bf16", "sm9" does not.
std::string_view find_disabled(std::string_view list, std::string_view kernel);

// The same for the environment variable SEESAW_DISABLE as it is now.
std::string_view disabled_by_environment(std::string_view kernel);

}  // namespace seesaw::engine
