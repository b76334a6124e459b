// Numbers of the seesaw (seesaw.cuh): tiles, boxes, warpgroups.
#pragma once

#include <cstdint>

namespace seesaw::gpu::sm90 {

inline constexpr int kTileTokens = 64;  // KV tokens of a tile: N of the score product
inline constexpr int kTileRows = 64;    // query rows of a tile: M of wgmma
inline constexpr int kBoxColumns = 64;  // 128 bytes: one row of a 128-byte-swizzled box
inline constexpr int kValueBoxes = 8;   // d_v = 512
inline constexpr int kHalfBoxes = 4;    // the half of V that one consumer warpgroup multiplies
inline constexpr int kHalves = kValueBoxes / kHalfBoxes;
inline constexpr int kHalfColumns = kHalfBoxes * kBoxColumns;
inline constexpr int kValueColumns = kValueBoxes * kBoxColumns;

inline constexpr int kCopyBoxes = 2;  // boxes that one TMA instruction brings (notebook 0003)
static_assert(kHalfBoxes % kCopyBoxes == 0);
inline constexpr int kHalfCopies = kHalfBoxes / kCopyBoxes;

inline constexpr int kWarpgroupThreads = 128;
inline constexpr int kConsumerThreads = 2 * kWarpgroupThreads;

// setmaxnreg shares out anew what the launch gives, ptxas's number of registers a thread: all that
// an SM has, in steps of 8, as the launch bounds ask for one block an SM. A sum above it hangs, so
// a build in which ptxas gave another number is refused (the kernels' instance.cuh).
constexpr int launch_registers(int threads) { return 65536 / threads / 8 * 8; }

// 64 rows x 64 columns of 16 bits, 128-byte swizzle: 16-byte chunk c of row r lies at chunk
// c ^ (r % 8). The hardware swizzles address bits, so a box has to start on 1,024 bytes.
struct alignas(1024) Box {
  uint16_t element[kTileRows][kBoxColumns];
};
static_assert(sizeof(Box) == 8192);

}  // namespace seesaw::gpu::sm90
