// What a kernel finds wrong with its input while it runs, when no host call is there to be told: it
// writes a fault into a word of host memory of its device, and the next call on that device says
// so. Finding none costs a kernel a comparison or two, and a call one load.
#pragma once

#include <cstdint>

#include "base/status.hpp"

namespace seesaw::gpu {

enum class Fault : uint32_t {
  kNone = 0,
  kForeignSchedule,  // no schedule, or one of another plan or for another number of sequences
  kStaleSchedule     // made for other lengths
};

// The word of CUDA device `index`, the current one, which kernels write; the same address on host
// and device. The first call for a device allocates it: never in a run. Also while a stream of the
// calling thread is capturing.
Status fault_word(int32_t index, Fault** word);

// The fault that a kernel has reported on device `index` since the last call, as a Status that
// begins with `where`. Forgets it.
Status take_fault(int32_t index, const char* where);

}  // namespace seesaw::gpu
