// The device planner: one block, whole items by thread, pieces by thread.
//
//   [1] sum the tiles (and, batch-invariant, the pieces) of all items
//   [2] find the rule: ranges, fixed pieces, whole sequences, or the least aligned piece length
//   that
//       fits, one candidate a warp
//   [3] by chunks of one item a thread: prefix sums of tiles and of pieces
//   [4] by chunks of one piece a thread: find its item, place it; where the worker changes from
//       one piece to the next, write worker_pieces
//   [5] the workers after the last piece, and the header
//
// The arithmetic is split/split_kv_math.hpp's, shared with the host: tests/gpu compares the bytes.
#include "gpu/block_scan.cuh"
#include "gpu/device.hpp"
#include "gpu/launch.cuh"
#include "gpu/schedule.hpp"
#include "split/split_kv_math.hpp"

namespace seesaw::gpu {
namespace {

using split::ItemSpan;
using split::PlacedPiece;
using split::SplitRule;

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / 32;
using Scan = BlockScan<kThreads>;

// The items of one chunk, for the threads that place their pieces.
struct Chunk {
  int64_t tiles_before[kThreads];
  int32_t tiles[kThreads];
  int32_t pieces_before[kThreads];  // of the whole batch; the schedule's piece ids are 32 bits
};

// Row groups of all sequences: see split_kv.hpp.
__device__ int32_t items_of(const ScheduleCall& call) {
  return call.batch * call.config.row_groups;
}

__device__ int64_t tiles_at(const ScheduleCall& call, int32_t sequence) {
  const int64_t tiles = split::tiles_at(call.lengths, sequence, call.config.tile_tokens);
  return tiles < call.config.max_sequence_tiles ? tiles : call.config.max_sequence_tiles;
}

// Sum over the items of value(tiles of the item), for all threads.
template <typename Value>
__device__ int64_t sum_over_items(const ScheduleCall& call, Value value) {
  int64_t sum = 0;
  for (int32_t i = static_cast<int32_t>(threadIdx.x); i < call.batch; i += kThreads) {
    sum += value(tiles_at(call, i));
  }
  return Scan::exclusive_sum(sum).total * call.config.row_groups;
}

// The most tiles of a sequence, for all threads.
__device__ int64_t longest_of_batch(const ScheduleCall& call) {
  __shared__ int32_t longest;
  if (threadIdx.x == 0) {
    longest = 0;
  }
  __syncthreads();
  int64_t mine = 0;
  for (int32_t i = static_cast<int32_t>(threadIdx.x); i < call.batch; i += kThreads) {
    const int64_t tiles = tiles_at(call, i);
    mine = tiles > mine ? tiles : mine;
  }
  atomicMax(&longest, static_cast<int32_t>(mine));  // a maximum is the same in any order
  __syncthreads();
  return longest;
}

// Whether pieces of at most `length` tiles need no more pieces than there are workers: the warp's
// common answer.
__device__ bool aligned_length_fits(const ScheduleCall& call, int64_t length) {
  int64_t pieces = 0;
  for (int32_t i = static_cast<int32_t>(threadIdx.x) % 32; i < call.batch; i += 32) {
    pieces += split::pieces_of(tiles_at(call, i), length);
  }
  for (int step = 16; step > 0; step /= 2) {
    pieces += __shfl_xor_sync(0xFFFFFFFFu, pieces, step);
  }
  return pieces * call.config.row_groups <= call.config.num_workers;
}

// The least piece length in `lengths` that fits, or 0.
__device__ int64_t find_aligned_length(const ScheduleCall& call,
                                       const split::AlignedLengths& lengths) {
  const int warp = static_cast<int>(threadIdx.x) / 32;
  __shared__ bool fits[kWarps];
  for (int64_t base = lengths.first; base <= lengths.last; base += kWarps) {
    const int64_t length = base + warp;
    const bool answer = length <= lengths.last && aligned_length_fits(call, length);
    if (threadIdx.x % 32 == 0) {
      fits[warp] = answer;
    }
    __syncthreads();
    for (int candidate = 0; candidate < kWarps; ++candidate) {
      if (fits[candidate]) {
        return base + candidate;  // every thread sees the same array
      }
    }
    __syncthreads();
  }
  return 0;
}

__device__ SplitRule find_rule(const ScheduleCall& call) {
  const int64_t tiles = sum_over_items(call, [](int64_t t) { return t; });
  const int64_t fixed = call.config.fixed_split_tiles;
  if (fixed > 0) {
    const int64_t pieces =
        sum_over_items(call, [fixed](int64_t t) { return split::pieces_of(t, fixed); });
    return split::fixed_rule(call.config, tiles, pieces);
  }
  const int64_t items = items_of(call);
  const SplitRule ranges = split::range_rule(call.config, items, tiles);
  if (call.config.split_cost_tiles > 0 || call.config.deal_rest != 0) {
    const int64_t longest = longest_of_batch(call);  // once: its shared word has no second barrier
    if (split::whole_pays(call.config, ranges, items, longest)) {
      return split::whole_rule(ranges, items);
    }
    if (split::rest_pays(call.config, ranges, items, tiles, longest)) {
      return split::rest_rule(ranges, items, longest);
    }
  }
  const split::AlignedLengths lengths = split::aligned_lengths(ranges, items, tiles);
  const int64_t length = find_aligned_length(call, lengths);
  return length > 0 ? split::aligned_rule(ranges, length) : ranges;
}

// The last item of the chunk whose first piece is at or before `piece`.
__device__ int item_of_piece(const Chunk& chunk, int chunk_size, int32_t piece) {
  int low = 0;
  int high = chunk_size;  // the answer is in [low, high)
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (chunk.pieces_before[middle] <= piece) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return low;
}

// Worker w begins with this piece, and the one before it ends there; the row behind the last worker
// ends where it begins.
__device__ void begin_pieces(const split::ScheduleView& view, int64_t num_workers, int64_t w,
                             int32_t piece) {
  view.worker_pieces[w].begin = piece;
  if (w > 0) view.worker_pieces[w - 1].end = piece;
  if (w == num_workers) view.worker_pieces[w].end = piece;
}

// Pieces [piece_begin, piece_end) of the chunk's items, one a thread at a time. `last_worker`
// is the worker of piece piece_begin - 1, or -1; returns that of piece_end - 1.
__device__ int64_t place_chunk(const SplitRule& rule, const Chunk& chunk, int chunk_size,
                               int32_t item_begin, int32_t piece_begin, int32_t piece_end,
                               int64_t last_worker, const split::ScheduleView& view) {
  __shared__ int64_t workers[kThreads];
  for (int32_t base = piece_begin; base < piece_end; base += kThreads) {
    const int32_t index = base + static_cast<int32_t>(threadIdx.x);
    if (index < piece_end) {
      const int local = item_of_piece(chunk, chunk_size, index);
      const ItemSpan span = {item_begin + local, chunk.tiles[local], chunk.tiles_before[local],
                             chunk.pieces_before[local]};
      const int32_t next = local + 1 < chunk_size ? chunk.pieces_before[local + 1] : piece_end;
      const PlacedPiece placed = split::place_piece(rule, span, next - chunk.pieces_before[local],
                                                    index - chunk.pieces_before[local]);
      view.pieces[index] = placed.piece;
      workers[threadIdx.x] = placed.worker;
    }
    __syncthreads();
    if (index < piece_end) {
      const int64_t previous = threadIdx.x == 0 ? last_worker : workers[threadIdx.x - 1];
      for (int64_t w = previous + 1; w <= workers[threadIdx.x]; ++w) {
        begin_pieces(view, rule.num_workers, w, index);
      }
    }
    const int32_t placed_here = piece_end - base < kThreads ? piece_end - base : kThreads;
    last_worker = workers[placed_here - 1];
    __syncthreads();
  }
  return last_worker;
}

__global__ void __launch_bounds__(kThreads)
    schedule_kernel(const __grid_constant__ ScheduleCall call) {
  __shared__ Chunk chunk;
  const split::ScheduleView view = split::schedule_view(call.schedule, call.config);
  const SplitRule rule = find_rule(call);  // [1] [2]
  int64_t tiles_so_far = 0;
  int64_t pieces_so_far = 0;
  int64_t last_worker = -1;
  const int32_t items = items_of(call);
  for (int32_t base = 0; base < items; base += kThreads) {
    const int32_t item = base + static_cast<int32_t>(threadIdx.x);
    const bool live = item < items;
    ItemSpan span = {item, live ? tiles_at(call, item / call.config.row_groups) : 0, 0, 0};
    const Scan::Result tiles = Scan::exclusive_sum(span.tiles);  // [3]
    span.tiles_before = tiles_so_far + tiles.before;
    const int32_t count = live ? split::piece_count(rule, span) : 0;
    const Scan::Result pieces = Scan::exclusive_sum(count);
    span.pieces_before = pieces_so_far + pieces.before;
    chunk.tiles_before[threadIdx.x] = span.tiles_before;
    chunk.tiles[threadIdx.x] = static_cast<int32_t>(span.tiles);
    chunk.pieces_before[threadIdx.x] = static_cast<int32_t>(span.pieces_before);
    if (live) {
      view.item_piece_begin[item + 1] = static_cast<int32_t>(span.pieces_before + count);
    }
    __syncthreads();
    const int chunk_size = items - base < kThreads ? items - base : kThreads;
    last_worker = place_chunk(rule, chunk, chunk_size, base, static_cast<int32_t>(pieces_so_far),
                              static_cast<int32_t>(pieces_so_far + pieces.total), last_worker,
                              view);  // [4]
    tiles_so_far += tiles.total;
    pieces_so_far += pieces.total;
  }
  // Rest pieces have no worker of their own: they begin where the last worker's end.
  const int64_t rest_begin = rule.layout == split::Layout::kRest ? rule.rest_begin : pieces_so_far;
  const uint32_t tag = split::schedule_tag(call.config, call.batch);
  for (int64_t w = threadIdx.x; w <= call.config.num_workers; w += kThreads) {
    view.worker_pieces[w].rest = split::rest_piece_of(w, rest_begin, pieces_so_far);
    view.worker_pieces[w].tag = tag;
  }
  for (int64_t w = last_worker + 1 + threadIdx.x; w <= call.config.num_workers; w += kThreads) {
    begin_pieces(view, rule.num_workers, w, static_cast<int32_t>(pieces_so_far));  // [5]
  }
  if (threadIdx.x == 0) {
    view.item_piece_begin[0] = 0;
    *view.header = {.magic = split::kScheduleMagic,
                    .batch = call.batch,
                    .num_pieces = static_cast<int32_t>(pieces_so_far),
                    .num_workers = call.config.num_workers,
                    .tile_tokens = call.config.tile_tokens,
                    .fixed_split_tiles = call.config.fixed_split_tiles,
                    .max_batch = call.config.max_batch,
                    .row_groups = call.config.row_groups};
  }
}

}  // namespace

Status launch_schedule(const ScheduleCall& call, cudaStream_t stream) {
  const LaunchShape shape = {
      .grid = dim3(1), .block = dim3(kThreads), .shared_bytes = 0, .stream = stream};
  return status_of(launch_kernel(schedule_kernel, shape, call), "schedule",
                   "launching the planner");
}

}  // namespace seesaw::gpu
