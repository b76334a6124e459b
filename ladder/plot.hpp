// The climb as a picture: a bar a rung, on a logarithmic axis, as the times span four decades.
#pragma once

#include <string>

#include "ladder/harness.hpp"

namespace seesaw::ladder {

// For a terminal; empty if fewer than two rungs were timed.
std::string bars_of(const Report& report);

// The same as an SVG file that needs nothing else.
std::string svg_of(const Report& report, const std::string& commit);

}  // namespace seesaw::ladder
