// What a traced run of a kernel reports: who did what when.
#pragma once

#include <cstdint>
#include <vector>

namespace seesaw::split {

struct TraceSpan {
  const char* step;  // static text
  int32_t worker;    // of the schedule; -1: the whole device
  int32_t part;      // of the worker: 0 on the CPU; on a GPU, 2 * thread block + warpgroup
  int32_t sequence;  // -1: of no sequence
  int32_t tile;      // first KV tile of the piece; -1: of none
  double begin_us;   // from the start of the call
  double end_us;
};

struct Trace {
  std::vector<TraceSpan> spans;  // in order of worker, part and time
  uint64_t dropped = 0;          // spans for which there was no room
};

}  // namespace seesaw::split
