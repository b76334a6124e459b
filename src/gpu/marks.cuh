// Where traced variants note the time. In every other variant they are nothing.
#pragma once

#include <cstdint>

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

// `tile` counts the lane's tiles.
template <typename Config>
__device__ __forceinline__ void mark_tile(uint32_t tile, TileMark what) {
  if constexpr (requires { Config::Marks::note_tile(tile, what); }) {
    Config::Marks::note_tile(tile, what);
  }
}

}  // namespace seesaw::gpu
