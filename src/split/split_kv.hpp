// The split-KV schedule: which worker does which KV tiles of which sequence.
//
// A sequence's KV is cut into tiles of `tile_tokens`; a *piece* is a run of tiles of one sequence
// that one worker does. A sequence of one piece is written out directly; the pieces of a split
// sequence write partial results, which the combine step merges in tile order.
//
// A sequence's query rows may be cut into row groups too, each of which walks all its tiles. What
// is scheduled is then an *item*: one row group of one sequence, item = sequence * row_groups +
// group. Everything that is said of a sequence below holds for an item; with one row group they are
// the same. docs/decisions/0017-row-groups.md.
//
// The schedule is plain data in one caller-owned buffer, sized from maxima alone, so it can be
// built on the device inside a CUDA graph and serve any real batch up to the planned one.
// Everything is a closed form of prefix sums over the sequences, so host and device build the same
// bytes. Derivation and bounds: docs/decisions/ (split-KV schedule).
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/host_device.hpp"
#include "base/math.hpp"
#include "split/lengths.hpp"

namespace seesaw::split {

// Numbers fixed when planning, before any length is known.
struct SplitConfig {
  int32_t max_batch = 0;
  int32_t num_workers = 1;
  int32_t tile_tokens = 64;
  int32_t piece_cost_tiles = 1;    // what starting and ending a piece costs, in tiles of work
  int32_t fixed_split_tiles = 0;   // batch-invariant mode: every split's size; 0 = balance the load
  int32_t max_sequence_tiles = 0;  // tiles of the longest sequence that the plan allows
  int32_t split_cost_tiles = 0;    // what cutting any sequence costs the whole batch, in tiles; 0:
                                   // nothing, so sequences of equal length are cut like others
  int32_t row_groups = 1;          // of a sequence, >= 1
  int32_t deal_rest = 0;           // 1: the kernel's workers do rest pieces (ScheduleView) too

  SEESAW_HOST_DEVICE int64_t max_items() const { return int64_t{max_batch} * row_groups; }
};

// Tiles [tile_begin, tile_end) of one row group of one sequence. An empty sequence is one piece
// [0, 0) a row group: somebody has to write its zeros.
struct Piece {
  int32_t sequence;
  int32_t row_group;
  int32_t tile_begin;
  int32_t tile_end;
  int32_t partial;  // slot of the partial result, or -1: the whole sequence, written out directly
  int32_t sequence_tiles;  // of the whole sequence: tells a run that lengths have changed
};

struct ScheduleHeader {
  uint32_t magic;  // kScheduleMagic once built
  int32_t batch;   // sequences in this schedule, <= config.max_batch
  int32_t num_pieces;
  int32_t num_workers;
  int32_t tile_tokens;
  int32_t fixed_split_tiles;
  int32_t max_batch;
  int32_t row_groups;
};

inline constexpr uint32_t kScheduleMagic = 0x57415353;  // "SSAW"

// What a worker does: pieces [begin, end), then piece `rest` unless it is -1. Rest pieces are those
// from the begin behind the last worker on. One load on a GPU, with what tells it that the schedule
// is its plan's.
struct alignas(16) WorkerPieces {
  int32_t begin;
  int32_t end;  // the next worker's begin
  int32_t rest;
  uint32_t tag;  // schedule_tag()
};

// Typed pointers into a schedule buffer.
struct ScheduleView {
  ScheduleHeader* header;
  WorkerPieces*
      worker_pieces;  // [num_workers + 1]; the last: where the workers' pieces end, twice, and -1
  int32_t* item_piece_begin;  // [max_items + 1]: item i is pieces [begin[i], begin[i+1])
  Piece* pieces;              // in order of (item, tile_begin); so of worker, but for rest pieces
};

// A piece bound for any lengths: each worker boundary adds at most one piece to the batch's.
SEESAW_HOST_DEVICE inline int64_t max_pieces(const SplitConfig& config) {
  if (config.fixed_split_tiles > 0) {
    const int64_t per_item = ceil_div<int64_t>(config.max_sequence_tiles, config.fixed_split_tiles);
    return config.max_items() * (per_item > 1 ? per_item : 1);
  }
  return config.max_items() + config.num_workers;
}

// Most partial results a schedule can need; slots are in [0, max_partials).
// Balanced: a worker's range is contiguous, so only its first and its last piece can be part of a
// split sequence.
SEESAW_HOST_DEVICE inline int64_t max_partials(const SplitConfig& config) {
  return config.fixed_split_tiles > 0 ? max_pieces(config) : 2 * int64_t{config.num_workers};
}

inline constexpr size_t kScheduleAlignment = 256;

// Bytes of a schedule buffer for any batch up to max_batch.
SEESAW_HOST_DEVICE inline size_t schedule_bytes(const SplitConfig& config) {
  const size_t words = sizeof(ScheduleHeader) / 4 +
                       sizeof(WorkerPieces) / 4 * (static_cast<size_t>(config.num_workers) + 1) +
                       round_up<size_t>(static_cast<size_t>(config.max_items()) + 1, 4);
  return round_up(4 * words + static_cast<size_t>(max_pieces(config)) * sizeof(Piece),
                  kScheduleAlignment);
}

SEESAW_HOST_DEVICE inline ScheduleView schedule_view(void* buffer, const SplitConfig& config) {
  char* base = static_cast<char*>(buffer);
  ScheduleView view;
  view.header = reinterpret_cast<ScheduleHeader*>(base);
  base += sizeof(ScheduleHeader);
  view.worker_pieces = reinterpret_cast<WorkerPieces*>(base);
  base += sizeof(WorkerPieces) * (static_cast<size_t>(config.num_workers) + 1);
  view.item_piece_begin = reinterpret_cast<int32_t*>(base);
  base += 4 * round_up<size_t>(static_cast<size_t>(config.max_items()) + 1, 4);
  view.pieces = reinterpret_cast<Piece*>(base);
  return view;
}

// The rest piece of worker `worker`, of `num_pieces` of which those from rest_begin on are such.
SEESAW_HOST_DEVICE inline int32_t rest_piece_of(int64_t worker, int64_t rest_begin,
                                                int64_t num_pieces) {
  return static_cast<int32_t>(rest_begin + worker < num_pieces ? rest_begin + worker : -1);
}

// Whether the plan of `config` made a schedule, and whether its counts are possible: then its
// pieces lie in its arrays, and its partials in the plan's workspace.
SEESAW_HOST_DEVICE inline bool made_by(const SplitConfig& config, const ScheduleHeader& header) {
  return header.num_workers == config.num_workers && header.tile_tokens == config.tile_tokens &&
         header.fixed_split_tiles == config.fixed_split_tiles &&
         header.max_batch == config.max_batch && header.row_groups == config.row_groups;
}
SEESAW_HOST_DEVICE inline bool counts_fit(const SplitConfig& config, const ScheduleHeader& header) {
  return header.batch >= 0 && header.batch <= config.max_batch && header.num_pieces >= 0 &&
         header.num_pieces <= max_pieces(config);
}

// Stands for the plan and the number of sequences that a schedule was made for. Plans or numbers
// that differ have different tags, but for a chance of 2^-32. Whether it was made for the lengths
// of a call only its pieces tell (Piece::sequence_tiles).
SEESAW_HOST_DEVICE inline uint32_t schedule_tag(const SplitConfig& config, int32_t batch) {
  const int32_t facts[] = {batch,
                           config.num_workers,
                           config.tile_tokens,
                           config.fixed_split_tiles,
                           config.max_batch,
                           config.row_groups};
  uint32_t tag = kScheduleMagic;
  for (const int32_t fact : facts) {
    tag = (tag ^ static_cast<uint32_t>(fact)) * 0x9E3779B1u;
    tag ^= tag >> 15;
  }
  return tag;
}

// Builds the schedule on the host. `buffer`: schedule_bytes(config), aligned to 256. Sequences must
// not have more tiles than config.max_sequence_tiles; 0 <= batch <= config.max_batch. Allocates
// nothing.
void build_schedule(const SplitConfig& config, const Lengths& lengths, int32_t batch, void* buffer);

// Calls visit(worker, piece) for every piece of a schedule in host memory, in order of worker. Its
// header must be checked (check_schedule.hpp); damaged tables are not followed out of their arrays.
template <typename Visit>
void visit_pieces(const SplitConfig& config, const void* schedule, Visit visit) {
  // Read only; the view's pointers are mutable because the builder shares it.
  const ScheduleView view = schedule_view(const_cast<void*>(schedule), config);
  const int32_t num_pieces = view.header->num_pieces;
  for (int32_t worker = 0; worker < config.num_workers; ++worker) {
    const int32_t begin = view.worker_pieces[worker].begin;
    const int32_t end = view.worker_pieces[worker].end;
    for (int32_t i = begin < 0 ? 0 : begin; i < end && i < num_pieces; ++i) {
      visit(worker, view.pieces[i]);
    }
    const int32_t rest = view.worker_pieces[worker].rest;
    if (rest >= 0 && rest < num_pieces) {
      visit(worker, view.pieces[rest]);
    }
  }
}

}  // namespace seesaw::split
