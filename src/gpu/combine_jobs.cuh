// The combine's jobs: how a block's threads share the pieces and units of one, and add up.
#pragma once

#include "gpu/combine_merge.cuh"
#include "gpu/ptx/registers.cuh"

namespace seesaw::gpu::combine {

// A job of a sequence of at most kPieces pieces: kUnits units a thread, unit u of all threads in
// row order. Lane u * kPieces + k weighs piece k of unit u, for the warp's units of one block.
template <typename Output, int kPieces, int kUnits>
__device__ void do_short_job(const Params& p, const SplitSequence& split, int32_t first_unit) {
  // Opaque: what follows from it is computed here, not kept in registers from job to job.
  const int thread = static_cast<int>(ptx::opaque(threadIdx.x));
  const int lane = thread % 32;
  uint4 out[kUnits][kPieces];
  const int32_t first = first_unit + thread;
  const int left = min(p.units - first, kUnits * kThreads);
  const Slots slots = slots_from(p, split, 0);
  const uint4* from = p.partial_out + int64_t{slots.first} * p.units + first;
#pragma unroll
  for (int k = 0; k < kPieces; ++k) {
#pragma unroll
    for (int u = 0; u < kUnits; ++u) {
      const bool there = k < split.num_pieces && u * kThreads < left;
      out[u][k] = there ? __ldcg(from + u * kThreads) : uint4{0, 0, 0, 0};
    }
    from += (k == 0 ? slots.second - slots.first : slots.step) * int64_t{p.units};
  }
  const int32_t my_unit = first - lane + lane / kPieces % kUnits * kThreads;
  const int piece = lane % kPieces;
  Stat stat;
  if (my_unit < p.units && piece < split.num_pieces) {
    stat = load_stat(p, split, piece, my_unit);
  }
  Totals mine;
  const float weight = weigh<kPieces>(stat.frame, stat.sum, &mine).weight * stat.unscale;
#pragma unroll
  for (int u = 0; u < kUnits; ++u) {
    Merged merged;
    merged.totals.frame = __shfl_sync(kAllLanes, mine.frame, u * kPieces);
    merged.totals.sum = __shfl_sync(kAllLanes, mine.sum, u * kPieces);
#pragma unroll
    for (int k = 0; k < kPieces; ++k) {
      merged.add_weighted(__shfl_sync(kAllLanes, weight, u * kPieces + k), out[u][k]);
    }
    if (u * kThreads < left) {
      store_unit<Output>(p, split.sequence, first + u * kThreads, merged);
    }
  }
}

// What the threads of a long job hand each other: each part is what a warp, or the threads of
// several warps that have no unit in common, found.
struct Exchange {
  static constexpr int kMostParts = kThreads / 32;
  // A job of two parts or more has at most half as many units as threads.
  static constexpr int kMostBlocks = kThreads / 2 * kPartialUnitElements / kPartialLeastColumns;
  float2 stat[kMostBlocks][kMostParts];  // frame, sum
  Columns out[kThreads];                 // [part][unit]
};

// Lanes of a warp that hold the same unit add up, each for all of them. Both sides of an exchange
// form the same sums, so the order is fixed.
__device__ inline void merge_lanes(int units, Merged* merged) {
  for (int step = units; step < 32; step *= 2) {
    Totals& totals = merged->totals;
    merged->scale(
        totals.move_to(fmaxf(totals.frame, __shfl_xor_sync(kAllLanes, totals.frame, step))));
    totals.sum += __shfl_xor_sync(kAllLanes, totals.sum, step);
#pragma unroll
    for (float& value : merged->out.value) value += __shfl_xor_sync(kAllLanes, value, step);
  }
}

// Adds up the parts, in order, for the threads of part 0: whole warps, in which a lane weighs a
// part for all.
__device__ inline Merged merge_parts(const Exchange& exchange, int parts, int units, int local,
                                     int block) {
  const int lane = static_cast<int>(threadIdx.x) % Exchange::kMostParts;
  const float2 stat = lane < parts ? exchange.stat[block][lane] : float2{kEmptyFrame, 0.0F};
  Merged merged;
  const float weight = weigh<Exchange::kMostParts>(stat.x, stat.y, &merged.totals).weight;
#pragma unroll
  for (int part = 0; part < Exchange::kMostParts; ++part) {
    const float part_weight = __shfl_sync(kAllLanes, weight, part);
    if (part < parts) {
      merged.add_weighted(part_weight, exchange.out[part * units + local]);
    }
  }
  return merged;
}

// A job of any number of pieces, in rounds: a unit's pieces are dealt to 2^log2_groups threads, in
// runs. Thread = group * units + unit.
template <typename Output>
__device__ void do_long_job(const Params& p, const SplitSequence& split, int32_t first_unit,
                            const JobShape& shape, Exchange& exchange) {
  const int units = shape.units();
  const int lane = static_cast<int>(threadIdx.x) % kSharingLanes;
  const int first_lane = static_cast<int>(threadIdx.x) % 32 - lane;
  const int local = static_cast<int>(threadIdx.x) & (units - 1);
  const int group = static_cast<int>(threadIdx.x) >> shape.log2_units;
  const int32_t unit = first_unit + local;
  const bool live = unit < p.units;  // the same for sharing lanes
  const int block =
      local >> p.log2_block_units;  // of the job, which is whole blocks or part of one
  Merged merged;
  for (int32_t base = 0; base < split.num_pieces; base += kPiecesOfRound) {
    const int32_t left = split.num_pieces - base;
    const int32_t count = !live ? 0 : left < kPiecesOfRound ? left : kPiecesOfRound;
    const int32_t begin = base + ((count * group) >> shape.log2_groups);
    const int32_t end = base + ((count * (group + 1)) >> shape.log2_groups);
    uint4 out[kPiecesAtOnce];
    load_units(p, split, begin, end, unit, out);
    Stat stat;
    if (begin + lane < end) {
      stat = load_stat(p, split, begin + lane, unit);
    }
    const Weighed weighed = weigh<kSharingLanes>(stat.frame, stat.sum, &merged.totals);
    const float weight = weighed.weight * stat.unscale;
    if (base > 0) merged.scale(weighed.factor);
#pragma unroll
    for (int k = 0; k < kPiecesAtOnce; ++k) {
      merged.add_weighted(__shfl_sync(kAllLanes, weight, first_lane + k), out[k]);
    }
  }
  const int log2_part = shape.log2_units > 5 ? shape.log2_units : 5;
  const int part = static_cast<int>(threadIdx.x) >> log2_part;
  const bool holds = static_cast<int>(threadIdx.x) - (part << log2_part) < units;
  if (shape.log2_groups > 0) {
    merge_lanes(units, &merged);
    if (holds) {
      exchange.out[part * units + local] = merged.out;
      if (local == block << p.log2_block_units) {
        exchange.stat[block][part] = {merged.totals.frame, merged.totals.sum};
      }
    }
    __syncthreads();
    if (part == 0) {
      merged = merge_parts(exchange, kThreads >> log2_part, units, local, block);
    }
    __syncthreads();
  }
  if (live && part == 0 && holds) {
    store_unit<Output>(p, split.sequence, unit, merged);
  }
}

template <typename Output>
__device__ void do_job(const Params& p, const SplitSequence& split, int32_t job,
                       Exchange& exchange) {
  const JobShape shape = shape_of(p, split.num_pieces);
  const int32_t first_unit = job << shape.log2_units;
  if (shape.units_per_thread == 4) {
    do_short_job<Output, 2, 4>(p, split, first_unit);
  } else if (shape.units_per_thread == 2) {
    do_short_job<Output, kShortPieces, 2>(p, split, first_unit);
  } else {
    do_long_job<Output>(p, split, first_unit, shape, exchange);
  }
}

}  // namespace seesaw::gpu::combine
