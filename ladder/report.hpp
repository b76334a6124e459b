// The ladder's table for a terminal, and its JSON.
#pragma once

#include <string>

#include "ladder/harness.hpp"

namespace seesaw::ladder {

// rung, idea, us, TFLOPS, GB/s, times faster than the previous rung, largest error over its bound.
std::string table_of(const Report& report);

// The text with U+FFFD for every byte that is no UTF-8.
std::string valid_utf8(const std::string& text);

// What a result file holds; `commit` and `command` as given by the caller.
std::string json_of(const Report& report, const std::string& commit, const std::string& command);

}  // namespace seesaw::ladder
