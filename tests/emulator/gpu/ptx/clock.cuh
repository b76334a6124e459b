// The emulator's side of src/gpu/ptx/clock.cuh: a clock that goes on by one whenever it is asked.
#pragma once

namespace seesaw::ptx {

inline unsigned long long emulated_time = 0;

inline unsigned long long clock_cycles() { return ++emulated_time; }
inline unsigned long long time_ns() { return ++emulated_time; }

}  // namespace seesaw::ptx
