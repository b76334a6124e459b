// What TMA needs to know of a packed array of rows of 576 columns, as rungs 8 to 10 load it.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "base/status.hpp"
#include "ladder/problem.hpp"

namespace seesaw::ladder {

// Coordinates (column within its tile, row, column tile, 0, 0). A box is 64 columns x 64 rows x
// `tiles_per_box` tiles, and lands as tiles of 8 KB with the 128-byte swizzle. Rows past the end
// arrive as zeros.
Status make_tile_map(const Bf16* base, int64_t rows, int tiles_per_box, CUtensorMap* map);

}  // namespace seesaw::ladder
