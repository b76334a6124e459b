// The emulator's side of src/gpu/ptx/global_memory.cuh.
#pragma once

#include <cstdint>

namespace seesaw::ptx {

inline int32_t load_now(const int32_t* from) { return *from; }

inline uint4 load_now(const uint4* from) { return *from; }

}  // namespace seesaw::ptx
