// The JSON half of the safetensors reader: header text to entries, as events, so that neither
// nesting nor size can exhaust the stack. Offsets are only checked for being numbers.
#pragma once

#include <string>
#include <string_view>

#include "files/safetensors.hpp"

namespace seesaw::files {

// Fills tensors (in the order of the text) and metadata; throws Failure.
void parse_header_json(std::string_view text, const std::string& path, SafetensorsHeader* header);

}  // namespace seesaw::files
