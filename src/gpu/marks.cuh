// Where traced variants note the time. In every other variant mark() is nothing.
#pragma once

#include "gpu/marks.hpp"

namespace seesaw::gpu {

// Config::Marks exists in traced variants only (clock_marks.cuh). `piece` counts the worker's
// pieces.
template <typename Config>
__device__ __forceinline__ void mark(int piece, Mark what) {
  if constexpr (requires { Config::Marks::note(piece, what); }) {
    Config::Marks::note(piece, what);
  }
}

}  // namespace seesaw::gpu
