// Numbers of the sm90 attention kernel and the parameters of one launch. README.md has the steps.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "attention/device/params.hpp"
#include "gpu/sm90/tile.hpp"

namespace seesaw::attention::sm90 {

using namespace device;
using namespace gpu::sm90;

inline constexpr int kChunkBytes = 16;  // of a row, copied by one cp.async
inline constexpr int kBoxChunks = kBoxColumns * 2 / kChunkBytes;
inline constexpr int kNarrowChunks = kBoxChunks / 2;  // of 64 columns of e4m3
inline constexpr int kScaleWords = 4;                 // most 32-bit words of scales of a record

inline constexpr int kBuffers = 2;      // KV tiles in shared memory
inline constexpr int kBufferWarps = 4;  // producer warps of a buffer: a warpgroup
inline constexpr int kProducerWarps = kBuffers * kBufferWarps;
inline constexpr int kShareTokens = kTileTokens / kBufferWarps;  // of every tile, a warp's
static_assert(kShareTokens == 16);

inline constexpr int kSwappedRows = 16;  // query rows of a tile where operands are swapped

inline constexpr int kThreads = kConsumerThreads + 32 * kProducerWarps;
inline constexpr int kLaunchRegisters = launch_registers(kThreads);

// A variant of the kernel: element type and width of a query, whether the cache's records are e4m3,
// to be converted to that type, and query rows of a tile: 64 for the seesaw, kSwappedRows where the
// operands are swapped.
template <typename ElementType, int kQkColumnsValue, bool kConvertsValue,
          int kRowsValue = gpu::sm90::kTileRows>
struct Config {
  using Element = ElementType;
  static constexpr bool kConverts = kConvertsValue;
  static constexpr int kQkColumns = kQkColumnsValue;  // d_qk
  static constexpr int kQkBoxes = kQkColumns / kBoxColumns;
  static constexpr bool kHasRotaryBox = kQkBoxes > kValueBoxes;
  static_assert(kQkBoxes == kValueBoxes || kQkBoxes == kValueBoxes + 1);
  static constexpr bool kRotaryInRegisters = false;
  // Columns of V that an instruction multiplies. ptxas takes none with more registers than the
  // launch gives a thread, whatever setmaxnreg says.
  static constexpr int kValueN = kHalfColumns / 2;
  // A KV tile is announced in this many parts: kCopyBoxes boxes each. The rotary box is announced
  // with the last of them, which is scored before it.
  static constexpr int kKvCopies = kValueBoxes / kCopyBoxes;
  static constexpr int kRotaryCopy = -1;

  static constexpr int kTileTokens = gpu::sm90::kTileTokens;
  static constexpr int kTileRows = kRowsValue;
  static constexpr bool kSwapped = kTileRows == kSwappedRows;
  static_assert(kSwapped || kTileRows == gpu::sm90::kTileRows);
  static constexpr int kValueColumns = gpu::sm90::kValueColumns;
  static constexpr int kThreads = sm90::kThreads;
  // The producers keep nothing in registers while it is under way, and have what the consumers
  // leave.
  static constexpr int kConsumerRegisters = kSwapped ? 176 : 208;
  static constexpr int kProducerRegisters = kSwapped ? 80 : 48;
  static_assert(kConsumerRegisters * kConsumerThreads + kProducerRegisters * 32 * kProducerWarps <=
                kLaunchRegisters * kThreads);
  static constexpr bool kRing = false;
  // Where the operands are swapped: of the four parts of the output that a warpgroup hands over at
  // the end of a piece, so many at a time.
  static constexpr int kExchangeParts = kHalfBoxes;
};

// The swapped consumers on tiles that TMA brings, by one warp, into a ring of halves of tiles.
inline constexpr int kRingHalves = 5;
inline constexpr int kRingThreads = kConsumerThreads + 32;

template <typename ElementType, int kQkColumnsValue>
struct RingConfig : Config<ElementType, kQkColumnsValue, false, kSwappedRows> {
  static constexpr bool kRing = true;
  static constexpr int kThreads = kRingThreads;
  static constexpr int kExchangeParts = kHalfBoxes / 2;  // the ring leaves no room for more
};

enum class ScaleKind : int32_t {
  kNone,   // 1
  kFloat,  // float32
  kE8M0,   // a byte each
};

// How records of e4m3 are cut into boxes: box k is 64 bytes from byte 64 k on, but the last one may
// hold 16-bit numbers.
struct RecordBoxes {
  int32_t narrow;       // boxes of e4m3
  int32_t wide_offset;  // byte of the 16-bit box
  ScaleKind scales;
  int32_t scale_words;   // of a record
  int32_t scale_offset;  // byte of the first, in the row or in the tail
  int32_t group_shift;   // column c has scale c >> group_shift
  bool scales_in_tail;
};

// A row's number in a cache: its bytes from the begin in units that divide every stride, so that 32
// bits do for any cache. (The most that is left for a cache of odd strides is 64 GiB.)
struct RowNumbers {
  uint32_t unit_bytes;
  uint32_t page, row, head;  // units from one to the next
};

// One launch.
struct Params : device::Params {
  RowNumbers rows[kMostStreams];
  RecordBoxes boxes[kMostStreams];
};

// One launch with a ring, whose cache is the first stream: as [page][kv_head][box][token of the
// page][64 columns], 64 tokens of two boxes of the values, and of the rotary one.
struct RingParams : Params {
  CUtensorMap kv_map, kv_rotary_map;
};

}  // namespace seesaw::attention::sm90
