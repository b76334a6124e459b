// Walking the pieces of a batch on the host, in order: to write a schedule, and to check one.
#pragma once

#include <algorithm>
#include <cstdint>

#include "split/split_kv.hpp"
#include "split/split_kv_math.hpp"

namespace seesaw::split {

// The lengths of a batch, as tiles.
struct Batch {
  const SplitConfig& config;
  const int32_t* seq_lens;
  int64_t stride;
  int32_t size;

  int64_t tiles(int32_t sequence) const {
    return tiles_of(seq_lens[sequence * stride], config.tile_tokens);
  }

  int64_t total_tiles() const {
    int64_t sum = 0;
    for (int32_t i = 0; i < size; ++i) {
      sum += tiles(i);
    }
    return sum;
  }

  int64_t longest() const {
    int64_t most = 0;
    for (int32_t i = 0; i < size; ++i) {
      most = std::max(most, tiles(i));
    }
    return most;
  }

  int64_t total_pieces(int64_t piece_tiles) const {
    int64_t sum = 0;
    for (int32_t i = 0; i < size; ++i) {
      sum += pieces_of(tiles(i), piece_tiles);
    }
    return sum;
  }
};

inline SplitRule find_rule(const Batch& batch) {
  const int64_t tiles = batch.total_tiles();
  if (batch.config.fixed_split_tiles > 0) {
    return fixed_rule(batch.config, tiles, batch.total_pieces(batch.config.fixed_split_tiles));
  }
  const SplitRule ranges = range_rule(batch.config, batch.size, tiles);
  if (whole_pays(batch.config, ranges, batch.size, batch.longest())) {
    return whole_rule(ranges, batch.size);
  }
  const AlignedLengths lengths = aligned_lengths(ranges, batch.size, tiles);
  for (int64_t length = lengths.first; length <= lengths.last; ++length) {
    if (batch.total_pieces(length) <= batch.config.num_workers) {
      return aligned_rule(ranges, length);
    }
  }
  return ranges;
}

// Calls visit(index, placed) for every piece in order, and end_sequence(i, pieces so far) after
// each sequence's; either stops the walk by returning false. Returns the number of pieces.
template <typename Visit, typename EndSequence>
int64_t walk_pieces(const Batch& batch, Visit visit, EndSequence end_sequence) {
  const SplitRule rule = find_rule(batch);
  SequenceSpan span{};
  for (int32_t i = 0; i < batch.size; ++i) {
    span.sequence = i;
    span.tiles = batch.tiles(i);
    const int32_t count = piece_count(rule, span);
    for (int32_t k = 0; k < count; ++k) {
      if (!visit(span.pieces_before + k, place_piece(rule, span, count, k))) {
        return span.pieces_before;
      }
    }
    span.tiles_before += span.tiles;
    span.pieces_before += count;
    if (!end_sequence(i, span.pieces_before)) {
      return span.pieces_before;
    }
  }
  return span.pieces_before;
}

}  // namespace seesaw::split
