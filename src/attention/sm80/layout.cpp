#include "attention/sm80/layout.hpp"

#include <algorithm>

#include "base/math.hpp"

namespace seesaw::attention::sm80 {
namespace {

constexpr int32_t kAlignment = 128;  // of the parts: the swizzle's rows

// A ring that has a place for the tile before the one whose scores are computed (`ahead`).
constexpr int32_t kAheadTiles = 3;
constexpr int32_t kAheadConverted = 2;
constexpr int32_t kAheadRaw = 2;  // records under way that make it worth it

bool is_plain_of(const CacheFormat& format, DType type) {
  return is_plain(format.id) && static_cast<DType>(format.id) == type;
}

int32_t raw_pitch(const Problem& problem) {
  int32_t pitch = 0;
  for (size_t s = 0; s < problem.num_streams; ++s) {
    const CacheFormat& format = problem.streams[s].format;
    pitch = std::max(pitch, raw_tail_offset(format.row_bytes) + raw_tail_offset(format.tail_bytes));
  }
  // An odd number of chunks: the same chunk of eight neighbouring records is in eight different
  // groups of banks.
  return pitch | kChunkBytes;
}

SharedLayout with_offsets(SharedLayout layout, const InstanceNumbers& numbers) {
  layout.raw_offset = layout.num_tiles * numbers.tile_bytes;
  layout.rest_offset = round_up<int32_t>(
      layout.raw_offset + layout.num_raw * kTileTokens * layout.raw_pitch, kAlignment);
  layout.bytes = layout.rest_offset + numbers.rest_bytes;
  return layout;
}

}  // namespace

bool converts(const Problem& problem) {
  for (size_t s = 0; s < problem.num_streams; ++s) {
    if (!is_plain_of(problem.streams[s].format, problem.q_type)) return true;
  }
  return false;
}

SharedLayout layout_for(const Problem& problem, const InstanceNumbers& numbers, int32_t bytes) {
  const int32_t room = bytes - numbers.rest_bytes - kAlignment;
  SharedLayout layout;
  if (!converts(problem)) {
    layout.num_tiles = std::min(room / numbers.tile_bytes, kMostStages);
    layout.ahead = layout.num_tiles >= kAheadTiles ? 1 : 0;
    return layout.num_tiles < 2 ? SharedLayout{} : with_offsets(layout, numbers);
  }
  layout.raw_pitch = raw_pitch(problem);
  const int32_t raw_bytes = kTileTokens * layout.raw_pitch;
  const int32_t beside_two = (room - kAheadConverted * numbers.tile_bytes) / raw_bytes;
  layout.ahead = beside_two >= kAheadRaw ? 1 : 0;
  layout.num_tiles = layout.ahead != 0 ? kAheadConverted : 1;
  layout.num_raw =
      std::min((room - layout.num_tiles * numbers.tile_bytes) / raw_bytes, kMostStages);
  return layout.num_raw < 1 ? SharedLayout{} : with_offsets(layout, numbers);
}

}  // namespace seesaw::attention::sm80
