// What a traced run of a kernel reports: who did what when.
#pragma once

#include <cstdint>
#include <vector>

#include "seesaw/seesaw.h"

namespace seesaw {

using TraceSpan = seesaw_trace_span;

struct Trace {
  std::vector<TraceSpan> spans;  // in order of worker, part and time
  uint64_t dropped = 0;          // spans for which there was no room
};

}  // namespace seesaw
