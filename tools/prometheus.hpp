// The library's counters as Prometheus text (exposition format 0.0.4): docs/monitoring.md.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "seesaw/seesaw.h"

namespace seesaw::tools {

std::string prometheus_text(std::span<const seesaw_stats> rows);

// Pieces of the format: a label's value in quotes, and nanoseconds as seconds without rounding.
std::string label_value(std::string_view text);
std::string seconds_text(uint64_t nanoseconds);

}  // namespace seesaw::tools
