// The combine's work: which items are split, where their partials lie, and how they are cut
// into jobs.
#pragma once

#include <cuda_runtime.h>

#include "base/math.hpp"
#include "core/lse.hpp"
#include "gpu/divisor.hpp"
#include "gpu/partials.hpp"
#include "gpu/ptx/global_memory.cuh"
#include "split/split_kv.hpp"

namespace seesaw::gpu::combine {

inline constexpr int kLog2Threads = 8;
inline constexpr int kThreads = 1 << kLog2Threads;
inline constexpr int kBlocksPerSm = 4;  // of at most 64 registers a thread
// Pieces of a unit that a thread of a long job loads at once. 132 SMs, in the powers of two that a
// unit's threads come in, give 132 / 32 = 4.1 pieces a thread: 5 do them in one go.
inline constexpr int kPiecesAtOnce = 5;
inline constexpr int kMaxLog2Groups = 5;  // at most 32 threads a unit: 8 units, 128 bytes in a row
inline constexpr int kPiecesOfRound = kPiecesAtOnce << kMaxLog2Groups;
// Lanes that certainly have the same block of a row and the same run of pieces.
inline constexpr int kSharingLanes = 8;
static_assert(kPiecesAtOnce <= kSharingLanes && kThreads >> kMaxLog2Groups >= kSharingLanes);
static_assert(kPartialLeastColumns / kPartialUnitElements >= kSharingLanes);

struct Params {
  split::SplitConfig config;
  const void* schedule;
  uint32_t schedule_tag;            // of the plan and the batch
  const uint4* partial_out;         // [slot][kv_head][row][unit]
  const PartialStat* partial_stat;  // [slot][kv_head][row][block]
  int32_t units;                    // of a slot
  int32_t blocks;                   // of a slot
  int32_t log2_block_units;         // of a block of columns
  Divisor blocks_per_row;
  int32_t d_v;
  int32_t batch;
  int32_t rows;           // query rows of a KV head
  Divisor rows_per_head;  // of them in a row group; the last one may have fewer
  Divisor group;          // query heads of a KV head
  void* out;              // [b, s_q, h_q, d_v]
  int64_t out_stride[3];  // elements
  float* lse;             // [b, h_q, s_q], or null
  int64_t lse_stride[3];
  float lse_factor;
  float empty_lse;
  Divisor items_per_sequence;
  const int32_t* query_begin;  // or null
  float* max_logits;           // [b, h_q, s_q], or null
  int64_t max_logits_stride[3];
  const float* sinks;  // [h_q], or null
  bool many_rows;      // so many that jobs of four units a thread are enough jobs
};

// A split item (a row group of a sequence: split/split_kv.hpp) and its jobs.
struct SplitItem {
  int32_t jobs_before;  // a job has at least 512 loads of 16 bytes, so 2^31 are 16 TB of partials
  int32_t jobs;
  int32_t first_slot;  // of its partials: see slots_from()
  int32_t sequence;
  int32_t row_group;
  int32_t num_pieces;  // 0: not split
};

// How the threads of a block share out the units and pieces of a job. Threads that share a unit do
// so by the number of pieces alone, so the order of a sum depends on nothing else.
struct JobShape {
  int log2_groups;       // log2 of the threads that share a unit
  int units_per_thread;  // 1 if threads share units; fewer of few rows, for the sake of more jobs
  int log2_units;        // of the job
  __device__ int units() const { return 1 << log2_units; }
};

inline constexpr int kShortPieces = 4;  // at most: one thread does a unit
inline constexpr int kLog2WarpUnits = 5;

__device__ inline JobShape shape_of(const Params& p, int32_t num_pieces) {
  JobShape shape = {0, 1, kLog2Threads};
  // A short job weighs a piece once a warp, so a warp's units have to be of one block.
  if (num_pieces <= kShortPieces && p.log2_block_units >= kLog2WarpUnits) {
    shape.units_per_thread = num_pieces <= 2 && p.many_rows ? 4 : 2;
    shape.log2_units += shape.units_per_thread / 2;
    return shape;
  }
  while (shape.log2_groups < kMaxLog2Groups && (kPiecesAtOnce << shape.log2_groups) < num_pieces) {
    ++shape.log2_groups;
  }
  shape.log2_units -= shape.log2_groups;
  return shape;
}

// Candidates for split items. Balanced, only a worker's last piece can begin one, so there are
// as many as workers; batch-invariant, every item.
__device__ inline int32_t num_items(const Params& p) { return p.batch * p.config.row_groups; }
__device__ inline int32_t num_candidates(const Params& p) {
  return p.config.fixed_split_tiles > 0 ? num_items(p) : p.config.num_workers;
}

// The last piece of worker `index`, or -1: its rest piece, or the last before these. None of a
// schedule of another plan, which the attention kernel reports.
__device__ inline int32_t last_piece_of_worker(const Params& p, const split::ScheduleView& view,
                                               int32_t index) {
  if (index >= p.config.num_workers) {
    return -1;
  }
  const uint4 row = ptx::load_now(reinterpret_cast<const uint4*>(view.worker_pieces + index));
  static_assert(sizeof(row) == sizeof(split::WorkerPieces));
  const auto begin = static_cast<int32_t>(row.x);
  const auto end = static_cast<int32_t>(row.y);
  const auto rest = static_cast<int32_t>(row.z);
  const int32_t last = rest >= 0 ? rest : begin < end ? end - 1 : -1;
  return row.w == p.schedule_tag ? last : -1;
}

// What candidate `index` stands for. `last_piece`: last_piece_of_worker(index).
__device__ inline SplitItem candidate(const Params& p, const split::ScheduleView& view,
                                      int32_t index, int32_t last_piece) {
  SplitItem found = {};
  if (p.config.fixed_split_tiles > 0) {
    if (index >= num_items(p) || view.worker_pieces[0].tag != p.schedule_tag) {
      return found;
    }
    found.sequence = index / p.config.row_groups;
    found.row_group = index % p.config.row_groups;
    found.first_slot = view.item_piece_begin[index];
  } else {
    if (last_piece < 0) {
      return found;
    }
    const split::Piece last = view.pieces[last_piece];
    found.first_slot = 2 * index + 1;
    if (last.partial != found.first_slot) {
      return found;
    }
    found.sequence = last.sequence;
    found.row_group = last.row_group;
  }
  const int32_t item = found.sequence * p.config.row_groups + found.row_group;
  const int32_t pieces = view.item_piece_begin[item + 1] - view.item_piece_begin[item];
  found.num_pieces = pieces > 1 ? pieces : 0;
  return found;
}

// The slots of a run of pieces, as split::place_piece gives them out: batch-invariant, pieces are
// their own slots; balanced, a worker has two, and piece k is on the k-th worker from that of piece
// 0, which uses its second slot, the others their first.
struct Slots {
  int32_t first;   // of the run's first piece
  int32_t second;  // of the next one
  int32_t step;    // from there on
};

__device__ inline Slots slots_from(const Params& p, const SplitItem& split, int32_t piece) {
  if (p.config.fixed_split_tiles > 0) {
    return {split.first_slot + piece, split.first_slot + piece + 1, 1};
  }
  const int32_t next = split.first_slot + 1 + 2 * piece;
  return {piece == 0 ? split.first_slot : next - 2, next, 2};
}

__device__ inline int32_t jobs_of(const Params& p, const SplitItem& split) {
  if (split.num_pieces == 0) return 0;
  const JobShape shape = shape_of(p, split.num_pieces);
  return (p.units + shape.units() - 1) >> shape.log2_units;
}

}  // namespace seesaw::gpu::combine
