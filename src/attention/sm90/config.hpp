// Numbers of the sm90 attention kernel and the parameters of one launch. README.md has the steps.
#pragma once

#include <cstdint>

#include "attention/device/params.hpp"
#include "gpu/sm90/tile.hpp"

namespace seesaw::attention::sm90 {

using namespace device;
using namespace gpu::sm90;

inline constexpr int kChunkBytes = 16;  // of a row: a load, or a cp.async
inline constexpr int kBoxChunks = kBoxColumns * 2 / kChunkBytes;
inline constexpr int kProducerWarps = 4;  // each brings kCopyBoxes boxes of every tile
static_assert(kProducerWarps * kCopyBoxes == kValueBoxes);

// A variant of the kernel: element type and width of a query, and whether the cache's records are
// e4m3, to be converted to that type.
template <typename ElementType, int kQkColumnsValue, bool kConvertsValue>
struct Config {
  using Element = ElementType;
  static constexpr bool kConverts = kConvertsValue;
  static constexpr int kQkColumns = kQkColumnsValue;  // d_qk
  static constexpr int kQkBoxes = kQkColumns / kBoxColumns;
  static constexpr bool kHasRotaryBox = kQkBoxes > kValueBoxes;
  static_assert(kQkBoxes == kValueBoxes || kQkBoxes == kValueBoxes + 1);
  // Loads under way take registers (setmaxnreg, see gpu/sm90/tile.hpp).
  static constexpr int kConsumerRegisters = kConverts ? 208 : 224;
  static constexpr int kProducerRegisters = kConverts ? 88 : 56;
  static_assert(2 * kConsumerRegisters + kProducerRegisters <= 3 * kLaunchRegisters);
  static constexpr bool kRotaryInRegisters = false;
  static constexpr bool kKeepsScores = false;
  // A KV tile comes in this many parts, each with a barrier of its own: a producer warp's boxes,
  // and the rotary box.
  static constexpr int kKvCopies = kProducerWarps + (kHasRotaryBox ? 1 : 0);
  static constexpr int kRotaryCopy = kProducerWarps;

  static constexpr int kTileTokens = gpu::sm90::kTileTokens;
  static constexpr int kTileRows = gpu::sm90::kTileRows;
  static constexpr int kValueColumns = gpu::sm90::kValueColumns;
  static constexpr int kThreads = gpu::sm90::kThreads;
};

// The scales of a record that a producer warp needs, for its 128 columns: one word.
enum class ScaleWord : int32_t {
  kNone,       // 1
  kFloat,      // one float
  kBytesOf64,  // e8m0, one for 64 columns
  kBytesOf32,  // e8m0, one for 32 columns
};

// How records of e4m3 are cut into boxes: box k is 64 bytes from byte 64 k on, but the last one may
// hold 16-bit numbers.
struct RecordBoxes {
  int32_t narrow;       // boxes of e4m3
  int32_t wide_offset;  // byte of the 16-bit box
  ScaleWord scales;
  int32_t scale_offset;  // byte of the first, in the row or in the tail
  int32_t scale_step;    // bytes from a producer warp's word to the next one's
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

}  // namespace seesaw::attention::sm90
