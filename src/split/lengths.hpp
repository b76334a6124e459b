// How many tokens each sequence of a call has, as the planner sees them.
#pragma once

#include <cstdint>

#include "base/host_device.hpp"
#include "base/math.hpp"

namespace seesaw::split {

// Lengths of one stream of tokens. Host or device memory, by who plans.
struct StreamLengths {
  const int32_t* lengths = nullptr;  // at [entry * stride]; null: `most` every time
  int64_t stride = 1;                // elements
  int32_t most = 0;                  // a longer one counts as this; a negative one counts as 0
};

// A sequence's tiles are those of its first stream, then those of its second, each padded to whole
// tiles. A stream that is not there has no lengths and `most` 0: nothing is read for it.
struct Lengths {
  StreamLengths streams[2];
  // Sequences whose lengths are one entry, one after another: where each query token is scheduled
  // for itself, those of a sequence.
  int32_t items_per_length = 1;
};

// Sequences of one stream, with a length each.
inline Lengths lengths_of(const int32_t* lengths, int64_t stride, int64_t most) {
  Lengths result;
  result.streams[0] = {lengths, stride,
                       static_cast<int32_t>(most < INT32_MAX ? most : int64_t{INT32_MAX})};
  return result;
}

// KV tiles of so many tokens; a negative number counts as 0.
SEESAW_HOST_DEVICE inline int32_t tiles_of(int32_t seq_len, int32_t tile_tokens) {
  return seq_len > 0 ? static_cast<int32_t>(ceil_div<int64_t>(seq_len, tile_tokens)) : 0;
}

// Tokens of entry `entry` of a stream, in [0, most].
SEESAW_HOST_DEVICE inline int32_t tokens_at(const StreamLengths& stream, int64_t entry) {
  if (stream.lengths == nullptr) {
    return stream.most;
  }
  const int32_t length = stream.lengths[entry * stream.stride];
  return length < 0 ? 0 : length < stream.most ? length : stream.most;
}

// Which entry of the lengths is sequence `sequence`'s.
SEESAW_HOST_DEVICE inline int32_t entry_of(const Lengths& lengths, int32_t sequence) {
  return lengths.items_per_length > 1 ? sequence / lengths.items_per_length : sequence;
}

// KV tiles of sequence `sequence`, of all its streams.
SEESAW_HOST_DEVICE inline int64_t tiles_at(const Lengths& lengths, int32_t sequence,
                                           int32_t tile_tokens) {
  const int32_t entry = entry_of(lengths, sequence);
  const int64_t first = tiles_of(tokens_at(lengths.streams[0], entry), tile_tokens);
  return lengths.streams[1].most > 0
             ? first + tiles_of(tokens_at(lengths.streams[1], entry), tile_tokens)
             : first;
}

}  // namespace seesaw::split
