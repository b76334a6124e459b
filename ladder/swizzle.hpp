// Tiles as TMA writes them and WGMMA reads them: 64 rows of 64 bfloat16 columns (128 bytes), where
// the eight 16-byte pieces of row r lie in the order piece ^ (r % 8). Eight rows of the same piece
// then touch all 32 banks once, with no padding: the 128-byte swizzle. Tiles begin at multiples of
// 1024 bytes; a block of 64 tokens x 576 columns is nine tiles, the last holds the rotary columns.
#pragma once

#include "base/host_device.hpp"
#include "ladder/problem.hpp"

namespace seesaw::ladder {

inline constexpr int kTileRows = 64;
inline constexpr int kTileColumns = 64;
inline constexpr int kTileBytes = kTileRows * kTileColumns * static_cast<int>(sizeof(Bf16));
inline constexpr int kColumnTiles = kQkColumns / kTileColumns;    // 9
inline constexpr int kValueTiles = kValueColumns / kTileColumns;  // 8
inline constexpr int kBlockBytes = kColumnTiles * kTileBytes;     // 73,728: 64 tokens

// Byte offset of (row, column) within nine tiles; `column` a multiple of 2.
SEESAW_HOST_DEVICE constexpr int swizzled_offset(int row, int column) {
  const int piece = column % kTileColumns / 8;
  return column / kTileColumns * kTileBytes + row * 128 + ((piece ^ (row % 8)) << 4) +
         column % 8 * static_cast<int>(sizeof(Bf16));
}

// One block of 64 rows x 576 columns in shared memory.
struct alignas(1024) SwizzledBlock {
  unsigned char bytes[kBlockBytes];
};

// One tile of 64 rows x 64 columns.
struct alignas(1024) SwizzledTile {
  unsigned char bytes[kTileBytes];
};

}  // namespace seesaw::ladder
