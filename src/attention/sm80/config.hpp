// Numbers of the sm80 attention kernel and the parameters of one launch. README.md has the steps.
#pragma once

#include <cuda_bf16.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "attention/device/params.hpp"
#include "base/host_device.hpp"

namespace seesaw::attention::sm80 {

using namespace device;

inline constexpr int kTileTokens = 32;  // KV tokens of a tile
inline constexpr int kWarpRows = 16;    // query rows of a warp: M of mma.m16n8k16
inline constexpr int kColumnWarps = 4;  // warps that share the rows: each a quarter of the tokens
                                        // of a tile, then of the columns of the values
inline constexpr int kWarpTokens = kTileTokens / kColumnWarps;
inline constexpr int kNarrowColumns = 256;  // columns of the values that an instance has
inline constexpr int kWideColumns = 512;
inline constexpr int kRotaryColumns = 64;  // most columns behind the values
inline constexpr int kMostStages = 8;
inline constexpr int kValidTiles = 16;  // tiles whose valid tokens are remembered
static_assert(kValidTiles >= 2 * kMostStages);

inline constexpr int kChunkBytes = 16;  // of a row: what cp.async copies and ldmatrix reads
inline constexpr int kChunkColumns = 8;
inline constexpr int kRowLanes = 8;  // threads that copy a row
template <typename ElementType, int kValueColumnsValue, int kRowWarpsValue, bool kConvertsValue>
struct Config {
  using Element = ElementType;
  static constexpr bool kIsBFloat16 = std::is_same_v<Element, __nv_bfloat16>;
  static constexpr int kValueColumns = kValueColumnsValue;
  static constexpr int kRowWarps = kRowWarpsValue;
  static constexpr bool kConverts = kConvertsValue;
  static constexpr int kTileRows = kRowWarps * kWarpRows;
  static constexpr int kTileTokens = sm80::kTileTokens;
  static constexpr int kThreads = kRowWarps * kColumnWarps * 32;
  static constexpr int kColumns = kValueColumns + kRotaryColumns;  // of a row in shared memory
  static constexpr int kRowBytes = 2 * kColumns;
  static constexpr int kTileBytes = kTileTokens * kRowBytes;
  static constexpr int kValueSteps = kValueColumns / 16;  // of k16, whose queries are in registers
  static constexpr int kWarpColumns = kValueColumns / kColumnWarps;
  static constexpr int kBlocks = kWarpColumns / 8;                      // of n8, of a warp's output
  static constexpr int kLoadRows = kTileTokens * kRowLanes / kThreads;  // that a thread copies
  static_assert(kRowBytes % 128 == 0 && kLoadRows >= 1);
};

// Where things lie in shared memory. Chosen on the host by what the device has.
//   tiles  [num_tiles][32 tokens][kRowBytes], chunks of 128 bytes swizzled by the token
//   raw    [num_raw][32 tokens][raw_pitch]: records as they are cached, where they are converted
//   the rest (SharedRest)
struct SharedLayout {
  int32_t num_tiles = 0;  // stages of the ring; of converted caches 2, or 1
  int32_t num_raw = 0;    // stages of the ring of converted caches; 0: nothing is converted
  int32_t raw_pitch = 0;
  int32_t raw_offset = 0;
  int32_t rest_offset = 0;
  int32_t bytes = 0;
  // Whether the scores of a tile are computed beside the values of the one before it, which keeps
  // both in shared memory.
  int32_t ahead = 0;

  // Tiles, or records of them, that are copied before the first is used.
  SEESAW_HOST_DEVICE constexpr int32_t first_copies() const {
    return num_raw > 0 ? num_raw : ahead != 0 ? num_tiles - 1 : num_tiles;
  }
  // Of which so many may be under way when the next tile is needed.
  SEESAW_HOST_DEVICE constexpr int32_t pending() const { return first_copies() - 1; }
};

// Where a raw record keeps its tail: behind the row, from a whole chunk on.
SEESAW_HOST_DEVICE constexpr int32_t raw_tail_offset(int32_t row_bytes) {
  return (row_bytes + kChunkBytes - 1) / kChunkBytes * kChunkBytes;
}

// One launch.
struct Params : device::Params {
  SharedLayout shared;
  bool q_plain;  // q_factor is 1, rows of q start on 4 bytes and q has kValueColumns
};

}  // namespace seesaw::attention::sm80
