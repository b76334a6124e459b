// The emulator's side of ladder/tensor_map.hpp.
#pragma once

#include <cstdint>

#include "base/status.hpp"
#include "gpu/ptx.cuh"
#include "ladder/problem.hpp"

namespace seesaw::ladder {

inline Status make_tile_map(const Bf16* base, int64_t rows, int tiles_per_box, CUtensorMap* map) {
  *map = {base, rows, tiles_per_box};
  return {};
}

}  // namespace seesaw::ladder
