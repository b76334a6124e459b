// Where the traced variant (trace.cu) notes the time. In every other variant mark() is nothing.
#pragma once

#include "ops/dense_decode/sm90/marks.hpp"

namespace seesaw::dense_decode::sm90 {

// Config::Marks exists in the traced variant only. `piece` counts the worker's pieces.
template <typename Config>
__device__ __forceinline__ void mark(int piece, Mark what) {
  if constexpr (requires { Config::Marks::note(piece, what); }) {
    Config::Marks::note(piece, what);
  }
}

}  // namespace seesaw::dense_decode::sm90
