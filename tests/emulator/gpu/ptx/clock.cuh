// The emulator's side of src/gpu/ptx/clock.cuh: time stands still.
#pragma once

namespace seesaw::ptx {

inline unsigned long long clock_cycles() { return 0; }
inline unsigned long long time_ns() { return 0; }

}  // namespace seesaw::ptx
