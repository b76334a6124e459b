// The arithmetic of the split-KV schedule: closed forms of prefix sums over the sequences, shared
// by the host planner (split_kv.cpp) and the device's, so that both build the same bytes. Integers
// only. docs/decisions/0003-split-kv-schedule.md derives the forms and the load bound.
//
// What is scheduled are items: the row groups of all sequences (of one row group each: sequences),
// each with all tiles of its sequence. Work is measured in tiles: a piece of n tiles costs n + p, p
// = piece_cost_tiles. Five layouts, in which "sequence" means item:
//
//   kAligned  few sequences: each is cut into equal pieces, every piece on a worker of its own.
//   kRanges   the sequences laid end to end on a line, t_i + p units each; worker w does what lies
//             in [w * quota, (w + 1) * quota). A cut that would leave a fragment shorter than
//             min_fragment tiles moves to the sequence's edge.
//   kWhole    sequences of about equal length, more than workers: so many to each worker. Only if
//             nothing else is faster by more than split_cost_tiles.
//   kRest     items of equal length, more than workers: so many whole ones to each worker, and the
//             few that are left over in equal pieces, at most one a worker, behind its whole ones.
//   kFixed    batch-invariant: pieces of a fixed size whatever the rest of the batch is; whole
//             pieces are dealt to workers in order of cost.
//
// How to build a schedule:
//   1. T = sum over the items of tiles_at(lengths, sequence), and their maximum.
//   2. rule = fixed_rule (which also needs the number of pieces) or range_rule. The latter gives
//      way to whole_rule if whole_pays(), else to rest_rule if rest_pays(), else, if items <=
//      num_workers, to aligned_rule with the least of the aligned_lengths() that fits.
//   3. per item: piece_count(rule, span); prefix sums give pieces_before.
//   4. per piece: place_piece(rule, span, k).
//   5. worker_pieces[w].begin = first piece whose worker is >= w.
#pragma once

#include <cstdint>

#include "base/host_device.hpp"
#include "base/math.hpp"
#include "split/split_kv.hpp"

namespace seesaw::split {

enum class Layout : int32_t { kAligned, kRanges, kFixed, kWhole, kRest };

// How a batch is cut, once its totals are known.
struct SplitRule {
  Layout layout;
  bool own_worker;       // piece j runs on worker j (there are at most as many pieces as workers)
  int64_t num_workers;   // of the configuration
  int32_t row_groups;    // likewise
  int64_t piece_cost;    // p >= 1
  int64_t quota;         // kRanges, kFixed: units of the line for each worker, >= 1
  int64_t piece_tiles;   // kAligned, kRest: most tiles of a piece; kFixed: tiles of a piece; >= 1
  int64_t per_worker;    // kWhole, kRest: whole items of each worker, >= 1
  int64_t rest_begin;    // kRest: the first item that is cut
  int64_t min_fragment;  // kRanges: least tiles on either side of a cut, >= 1
};

// One item with its prefix sums.
struct ItemSpan {
  int32_t item;
  int64_t tiles;
  int64_t tiles_before;   // sum of tiles of the items before it
  int64_t pieces_before;  // sum of piece_count of the items before it
};

// A piece and who does it.
struct PlacedPiece {
  int64_t worker;
  Piece piece;
};

SEESAW_HOST_DEVICE inline int64_t at_least_one(int64_t value) { return value > 1 ? value : 1; }

// Pieces of at most `piece_tiles` tiles that an item needs; an empty one is a piece too.
SEESAW_HOST_DEVICE inline int64_t pieces_of(int64_t tiles, int64_t piece_tiles) {
  return at_least_one(ceil_div(tiles, piece_tiles));
}

SEESAW_HOST_DEVICE inline int64_t piece_cost(const SplitConfig& config) {
  return at_least_one(config.piece_cost_tiles);
}

// Balanced mode for any number of items: `tiles` is their sum.
SEESAW_HOST_DEVICE inline SplitRule range_rule(const SplitConfig& config, int64_t items,
                                               int64_t tiles) {
  const int64_t cost = piece_cost(config);
  SplitRule rule{};
  rule.layout = Layout::kRanges;
  rule.own_worker = false;
  rule.num_workers = config.num_workers;
  rule.row_groups = config.row_groups;
  rule.piece_cost = cost;
  rule.quota = at_least_one(ceil_div<int64_t>(tiles + cost * items, config.num_workers));
  rule.piece_tiles = 1;
  rule.per_worker = 1;
  rule.rest_begin = items;
  rule.min_fragment = 1 + cost / 2;  // moving fewer tiles than this saves less than it costs
  return rule;
}

// Batch-invariant mode: `pieces` is the sum of pieces_of(tiles_i, config.fixed_split_tiles).
SEESAW_HOST_DEVICE inline SplitRule fixed_rule(const SplitConfig& config, int64_t tiles,
                                               int64_t pieces) {
  SplitRule rule = range_rule(config, pieces, tiles);
  rule.layout = Layout::kFixed;
  rule.own_worker = pieces <= config.num_workers;
  rule.piece_tiles = config.fixed_split_tiles;
  return rule;
}

// Whether giving each worker the same number of whole items is worth it: `longest` is the largest
// number of tiles of an item, so the busiest worker has per_worker * (longest + p)
// units, and nothing has to be merged.
SEESAW_HOST_DEVICE inline bool whole_pays(const SplitConfig& config, const SplitRule& ranges,
                                          int64_t items, int64_t longest) {
  const int64_t load =
      ceil_div(at_least_one(items), ranges.num_workers) * (longest + ranges.piece_cost);
  return config.split_cost_tiles > 0 && load <= ranges.quota + config.split_cost_tiles;
}

SEESAW_HOST_DEVICE inline SplitRule whole_rule(const SplitRule& ranges, int64_t items) {
  SplitRule rule = ranges;
  rule.layout = Layout::kWhole;
  rule.per_worker = ceil_div(at_least_one(items), ranges.num_workers);
  return rule;
}

// Each worker floor(items / workers) whole items, and the rest in equal pieces of at least as many
// tiles as lets every worker have at most one. Only for items of equal length, `longest`.
SEESAW_HOST_DEVICE inline SplitRule rest_rule(const SplitRule& ranges, int64_t items,
                                              int64_t longest) {
  SplitRule rule = ranges;
  rule.layout = Layout::kRest;
  rule.per_worker = items / ranges.num_workers;
  rule.rest_begin = rule.per_worker * ranges.num_workers;
  const int64_t pieces = ranges.num_workers / at_least_one(items - rule.rest_begin);
  rule.piece_tiles = at_least_one(ceil_div(longest, at_least_one(pieces)));
  return rule;
}

// Whether it is no slower than ranges, which cut about as many items as there are workers: the
// busiest worker has per_worker * (longest + p) + piece_tiles + p units against quota + p.
SEESAW_HOST_DEVICE inline bool rest_pays(const SplitConfig& config, const SplitRule& ranges,
                                         int64_t items, int64_t tiles, int64_t longest) {
  if (config.deal_rest == 0 || items <= ranges.num_workers || items % ranges.num_workers == 0 ||
      longest * items != tiles) {
    return false;
  }
  const SplitRule rule = rest_rule(ranges, items, longest);
  return rule.per_worker * (longest + ranges.piece_cost) + rule.piece_tiles <= ranges.quota + 1;
}

// Piece lengths [first, last] among which the aligned layout's is the least L with
// sum(pieces_of(tiles_i, L)) <= num_workers. If even `last` (the quota of the ranges) is not
// enough, ranges are no worse and are taken. There are at most p + 2 candidates.
struct AlignedLengths {
  int64_t first;
  int64_t last;  // first - 1 if there is none: more sequences than workers
};

SEESAW_HOST_DEVICE inline AlignedLengths aligned_lengths(const SplitRule& ranges, int64_t items,
                                                         int64_t tiles) {
  const int64_t first = at_least_one(ceil_div(tiles, ranges.num_workers));
  return {first, items <= ranges.num_workers ? ranges.quota : first - 1};
}

SEESAW_HOST_DEVICE inline SplitRule aligned_rule(const SplitRule& ranges, int64_t piece_tiles) {
  SplitRule rule = ranges;
  rule.layout = Layout::kAligned;
  rule.own_worker = true;
  rule.piece_tiles = piece_tiles;
  return rule;
}

// kRanges: the line's unit after the sequence's start and its piece cost, where tile 0 begins.
SEESAW_HOST_DEVICE inline int64_t first_tile_position(const SplitRule& rule, const ItemSpan& span) {
  return span.tiles_before + rule.piece_cost * (span.item + int64_t{1});
}

// kRanges: the worker of the sequence's first piece. A boundary fewer than min_fragment tiles into
// the sequence counts as one before it, so it is the worker of the unit there; of the middle unit
// if the sequence is too short to cut.
SEESAW_HOST_DEVICE inline int64_t first_range_worker(const SplitRule& rule, const ItemSpan& span) {
  const int64_t half = (span.tiles + 1) / 2;
  const int64_t inset = rule.min_fragment < half ? rule.min_fragment : half;
  return (first_tile_position(rule, span) + inset - 1) / rule.quota;
}

// Pieces of a sequence. Does not need span.pieces_before.
SEESAW_HOST_DEVICE inline int32_t piece_count(const SplitRule& rule, const ItemSpan& span) {
  if (rule.layout == Layout::kWhole ||
      (rule.layout == Layout::kRest && span.item < rule.rest_begin)) {
    return 1;
  }
  if (rule.layout != Layout::kRanges) {
    return static_cast<int32_t>(pieces_of(span.tiles, rule.piece_tiles));
  }
  if (span.tiles < 2 * rule.min_fragment) {
    return 1;
  }
  // Boundaries w * quota that fall in [min_fragment, tiles - min_fragment] tiles of the sequence.
  const int64_t last_cut = first_tile_position(rule, span) + span.tiles - rule.min_fragment;
  return static_cast<int32_t>(1 + last_cut / rule.quota - first_range_worker(rule, span));
}

// Tile at which piece k of `count` begins; k = count gives the sequence's end.
SEESAW_HOST_DEVICE inline int32_t piece_begin(const SplitRule& rule, const ItemSpan& span,
                                              int32_t count, int32_t k) {
  if (k == 0 || k == count) {
    return static_cast<int32_t>(k == 0 ? 0 : span.tiles);
  }
  switch (rule.layout) {
    case Layout::kAligned:
    case Layout::kRest:
      return static_cast<int32_t>(span.tiles * k / count);
    case Layout::kFixed:
      return static_cast<int32_t>(rule.piece_tiles * k);
    case Layout::kWhole:
    case Layout::kRanges:
      break;
  }
  const int64_t worker = first_range_worker(rule, span) + k;
  return static_cast<int32_t>(worker * rule.quota - first_tile_position(rule, span));
}

// Worker of piece k, which has tiles [tile_begin, tile_end); num_workers, behind the last one, for
// a rest piece, which is dealt by its number instead.
SEESAW_HOST_DEVICE inline int64_t piece_worker(const SplitRule& rule, const ItemSpan& span,
                                               int32_t k, int32_t tile_begin, int32_t tile_end) {
  if (rule.own_worker) {
    return span.pieces_before + k;
  }
  if (rule.layout == Layout::kRanges) {
    return first_range_worker(rule, span) + k;
  }
  if (rule.layout == Layout::kRest && span.item >= rule.rest_begin) {
    return rule.num_workers;
  }
  if (rule.layout == Layout::kWhole || rule.layout == Layout::kRest) {
    return span.item / rule.per_worker;
  }
  // kFixed: whoever owns the middle of the piece on the line of all pieces.
  const int64_t start = span.tiles_before + tile_begin + rule.piece_cost * (span.pieces_before + k);
  return (start + (tile_end - tile_begin + rule.piece_cost) / 2) / rule.quota;
}

// Piece k of the sequence's `count`.
SEESAW_HOST_DEVICE inline PlacedPiece place_piece(const SplitRule& rule, const ItemSpan& span,
                                                  int32_t count, int32_t k) {
  PlacedPiece placed;
  placed.piece.sequence = span.item / rule.row_groups;
  placed.piece.row_group = span.item % rule.row_groups;
  placed.piece.tile_begin = piece_begin(rule, span, count, k);
  placed.piece.tile_end = piece_begin(rule, span, count, k + 1);
  placed.worker = piece_worker(rule, span, k, placed.piece.tile_begin, placed.piece.tile_end);
  int64_t slot = -1;
  if (count > 1) {
    // Balanced: of a worker's pieces only the first can continue a sequence (k > 0), and only the
    // last can begin one that others continue (k = 0). Fixed: the index of the piece itself.
    // A rest piece is its worker's last, and either begins its item or continues it.
    const int64_t worker =
        rule.layout == Layout::kRest ? span.pieces_before + k - rule.rest_begin : placed.worker;
    slot = rule.layout == Layout::kFixed ? span.pieces_before + k : 2 * worker + (k == 0 ? 1 : 0);
  }
  placed.piece.partial = static_cast<int32_t>(slot);
  placed.piece.sequence_tiles = static_cast<int32_t>(span.tiles);
  return placed;
}

}  // namespace seesaw::split
