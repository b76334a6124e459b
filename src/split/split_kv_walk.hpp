// Walking the pieces of a batch on the host, in order: to write a schedule, and to check one.
#pragma once

#include <algorithm>
#include <cstdint>

#include "split/split_kv.hpp"
#include "split/split_kv_math.hpp"

namespace seesaw::split {

// The items of a batch, as tiles.
struct Batch {
  const SplitConfig& config;
  const Lengths& lengths;
  int32_t size;  // sequences

  int32_t items() const { return size * config.row_groups; }

  int64_t tiles(int32_t sequence) const { return tiles_at(lengths, sequence, config.tile_tokens); }

  // Sum over the items of value(tiles of the item).
  template <typename Value>
  int64_t sum(Value value) const {
    int64_t sum = 0;
    for (int32_t i = 0; i < size; ++i) {
      sum += value(tiles(i));
    }
    return sum * config.row_groups;
  }

  int64_t longest() const {
    int64_t most = 0;
    for (int32_t i = 0; i < size; ++i) {
      most = std::max(most, tiles(i));
    }
    return most;
  }

  int64_t total_pieces(int64_t piece_tiles) const {
    return sum([piece_tiles](int64_t tiles) { return pieces_of(tiles, piece_tiles); });
  }
};

inline SplitRule find_rule(const Batch& batch) {
  const int64_t tiles = batch.sum([](int64_t of_item) { return of_item; });
  if (batch.config.fixed_split_tiles > 0) {
    return fixed_rule(batch.config, tiles, batch.total_pieces(batch.config.fixed_split_tiles));
  }
  const SplitRule ranges = range_rule(batch.config, batch.items(), tiles);
  if (whole_pays(batch.config, ranges, batch.items(), batch.longest())) {
    return whole_rule(ranges, batch.items());
  }
  if (rest_pays(batch.config, ranges, batch.items(), tiles, batch.longest())) {
    return rest_rule(ranges, batch.items(), batch.longest());
  }
  const AlignedLengths lengths = aligned_lengths(ranges, batch.items(), tiles);
  for (int64_t length = lengths.first; length <= lengths.last; ++length) {
    if (batch.total_pieces(length) <= batch.config.num_workers) {
      return aligned_rule(ranges, length);
    }
  }
  return ranges;
}

// Calls visit(index, placed) for every piece in order, and end_item(i, pieces so far) after each
// item's; either stops the walk by returning false. Returns the number of pieces.
template <typename Visit, typename EndItem>
int64_t walk_pieces(const Batch& batch, Visit visit, EndItem end_item) {
  const SplitRule rule = find_rule(batch);
  ItemSpan span{};
  for (int32_t i = 0; i < batch.items(); ++i) {
    span.item = i;
    span.tiles = batch.tiles(i / batch.config.row_groups);
    const int32_t count = piece_count(rule, span);
    for (int32_t k = 0; k < count; ++k) {
      if (!visit(span.pieces_before + k, place_piece(rule, span, count, k))) {
        return span.pieces_before;
      }
    }
    span.tiles_before += span.tiles;
    span.pieces_before += count;
    if (!end_item(i, span.pieces_before)) {
      return span.pieces_before;
    }
  }
  return span.pieces_before;
}

}  // namespace seesaw::split
