// The combine, by blocks that share out *jobs*: a job is some units (4 columns of a row) of one
// split sequence.
//
//   [1] list the split sequences, a candidate a thread: in balanced mode only a worker's last piece
//       can begin one, so there are as many candidates as workers; batch-invariant, every sequence
//   [2] cut each into jobs. A thread has 8 or 9 loads of 16 bytes in flight: of two pieces four
//       units, of four pieces two, of up to nine one; of more, several threads share a unit
//   [3] find the block's first job, then wait for the attention kernel: everything before this
//       overlaps its tail
//   [4] weigh the pieces: 2^(frame - largest frame). The statistics are the same for the lanes of a
//       warp, as its units are of one row, so a lane loads and weighs one piece for all
//   [5] the threads of a unit add up through shared memory, in the order of the pieces; store
//
// The job's shape is a function of the number of pieces alone, so that a sequence's bits depend
// neither on the rest of the batch nor on the device. docs/notebook/0010 has the times.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cmath>

#include "kernels/cuda/block_scan.cuh"
#include "kernels/cuda/combine.hpp"
#include "kernels/cuda/device.hpp"
#include "kernels/cuda/launch.cuh"
#include "plan/split_kv.hpp"

namespace seesaw::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocksPerSm = 3;  // of at most 85 registers a thread: with four, 7 are spilled
// Pieces of a unit that a thread of a long job loads at once. 132 SMs, in the powers of two that a
// unit's threads come in, give 132 / 16 = 8.25 pieces a thread: 9 do them in one go.
constexpr int kPiecesAtOnce = 9;
constexpr int kMaxLog2Groups = 4;  // at most 16 threads a unit: 16 units, 256 bytes in a row
constexpr int kPiecesOfRound = kPiecesAtOnce << kMaxLog2Groups;
constexpr int kSharingLanes = 16;  // lanes that certainly have the same row and run of pieces
static_assert(kPiecesAtOnce <= kSharingLanes && kThreads >> kMaxLog2Groups >= kSharingLanes);
constexpr unsigned kAllLanes = 0xFFFFFFFFu;
using Scan = BlockScan<kThreads>;

struct CombineParams {
  plan::SplitConfig config;
  PartialLayout partials;
  const void* schedule;
  const float4* partial_out;        // [num_rows][128] units
  const PartialStat* partial_stat;  // [num_rows]
  int32_t batch;
  int32_t group;          // query heads of a KV head
  void* out;              // [b, s_q, h_q, 512]
  int64_t out_stride[3];  // elements
  float* lse;             // [b, h_q, s_q], or null
  int64_t lse_stride[3];
  LseBase lse_base;
  EmptyLse empty_lse;
  bool paired_stores;  // out's addresses allow storing two columns at a time
};

// A split sequence and its jobs.
struct SplitSequence {
  int64_t jobs_before;
  int64_t jobs;
  int64_t first_slot;  // of its partials: see slot_of()
  int32_t sequence;
  int32_t num_pieces;  // 0: not a split sequence
};

// What a run of pieces of one row adds up to; `out` is four columns of it. See partials.hpp.
struct Merged {
  float frame = kEmptyFrame;
  float sum = 0.0F;
  float4 out = {0.0F, 0.0F, 0.0F, 0.0F};

  __device__ void scale_to(float new_frame) {
    const float factor = exp2f(frame - new_frame);
    frame = new_frame;
    sum *= factor;
    out.x *= factor;
    out.y *= factor;
    out.z *= factor;
    out.w *= factor;
  }

  __device__ void add_weighted(float weight, const float4& other) {
    out.x += weight * other.x;
    out.y += weight * other.y;
    out.z += weight * other.z;
    out.w += weight * other.w;
  }
};

// How the threads of a block share out the units and pieces of a job.
struct JobShape {
  int log2_groups;       // log2 of the threads that share a unit
  int units_per_thread;  // 1 if threads share units
  int units;             // of the job
};

__device__ JobShape shape_of(int32_t num_pieces) {
  JobShape shape = {0, num_pieces <= 2 ? 4 : num_pieces <= 4 ? 2 : 1, 0};
  while (shape.log2_groups < kMaxLog2Groups && (kPiecesAtOnce << shape.log2_groups) < num_pieces) {
    ++shape.log2_groups;
  }
  shape.units = (kThreads >> shape.log2_groups) * shape.units_per_thread;
  return shape;
}

__device__ int64_t units_of(const CombineParams& p) {
  return p.partials.h_kv * p.partials.rows_per_head * kPartialUnitsPerRow;
}

// [1] What candidate `index` stands for.
__device__ SplitSequence candidate(const CombineParams& p, const plan::ScheduleView& view,
                                   int64_t index) {
  SplitSequence found = {};
  if (p.config.fixed_split_tiles > 0) {
    if (index >= p.batch) {
      return found;
    }
    found.sequence = static_cast<int32_t>(index);
    found.first_slot = view.sequence_piece_begin[index];
  } else {
    if (index >= p.config.num_workers) {
      return found;
    }
    const int32_t begin = view.worker_piece_begin[index];
    const int32_t end = view.worker_piece_begin[index + 1];
    if (begin == end) {
      return found;
    }
    const plan::Piece last = view.pieces[end - 1];
    found.first_slot = 2 * index + 1;
    if (last.partial != found.first_slot) {
      return found;
    }
    found.sequence = last.sequence;
  }
  const int32_t pieces =
      view.sequence_piece_begin[found.sequence + 1] - view.sequence_piece_begin[found.sequence];
  found.num_pieces = pieces > 1 ? pieces : 0;
  return found;
}

// The slots of a run of pieces, as plan::place_piece gives them out: batch-invariant, pieces are
// their own slots; balanced, a worker has two, and piece k is on the k-th worker from that of piece
// 0, which uses its second slot, the others their first.
struct Slots {
  int64_t first;   // of the run's first piece
  int64_t second;  // of the next one
  int64_t step;    // from there on
};

__device__ Slots slots_from(const CombineParams& p, const SplitSequence& split, int32_t piece) {
  if (p.config.fixed_split_tiles > 0) {
    return {split.first_slot + piece, split.first_slot + piece + 1, 1};
  }
  const int64_t next = split.first_slot + 1 + 2 * int64_t{piece};
  return {piece == 0 ? split.first_slot : next - 2, next, 2};
}

__device__ int64_t jobs_of(const CombineParams& p, const SplitSequence& split) {
  return split.num_pieces == 0 ? 0
                               : ceil_div<int64_t>(units_of(p), shape_of(split.num_pieces).units);
}

// Loads one unit of pieces [begin, end), at most kPieces; zeros for the rest.
template <int kPieces>
__device__ void load_units(const CombineParams& p, const SplitSequence& split, int32_t begin,
                           int32_t end, int64_t unit, float4 (&out)[kPieces]) {
  const int64_t units = units_of(p);
  const Slots slots = slots_from(p, split, begin);
  const float4* from = p.partial_out + slots.first * units + unit;
#pragma unroll
  for (int k = 0; k < kPieces; ++k) {
    out[k] = begin + k < end ? __ldcg(from) : float4{0.0F, 0.0F, 0.0F, 0.0F};
    from += (k == 0 ? slots.second - slots.first : slots.step) * units;
  }
}

__device__ float2 load_stat(const CombineParams& p, const SplitSequence& split, int32_t piece,
                            int64_t unit) {
  const int64_t rows = units_of(p) / kPartialUnitsPerRow;
  const int64_t slot = slots_from(p, split, piece).first;
  return __ldcg(reinterpret_cast<const float2*>(p.partial_stat) + slot * rows +
                unit / kPartialUnitsPerRow);
}

// Largest value, and sum, over groups of kLanes neighbouring lanes, for all of them.
template <int kLanes>
__device__ float max_of_lanes(float value) {
#pragma unroll
  for (int step = kLanes / 2; step > 0; step /= 2) {
    value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, step));
  }
  return value;
}

template <int kLanes>
__device__ float sum_of_lanes(float value) {
#pragma unroll
  for (int step = kLanes / 2; step > 0; step /= 2) {
    value += __shfl_xor_sync(kAllLanes, value, step);
  }
  return value;
}

// [4] Every lane brings the statistics of one of kLanes parts (or of nothing: kEmptyFrame, 0) and
// gets its weight. `merged` moves to their common frame and has their sums added. A NaN frame is
// dropped by the maximum, but not by the weight.
template <int kLanes>
__device__ float weigh(const float2& stat, Merged* merged) {
  merged->scale_to(fmaxf(merged->frame, max_of_lanes<kLanes>(stat.x)));
  const float weight = exp2f(stat.x - merged->frame);
  merged->sum += sum_of_lanes<kLanes>(weight * stat.y);
  return weight;
}

__device__ __nv_bfloat162 pair_of(float x, float y, __nv_bfloat16) {
  return __floats2bfloat162_rn(x, y);
}
__device__ __half2 pair_of(float x, float y, __half) { return __floats2half2_rn(x, y); }

template <typename T>
__device__ void store_unit(const CombineParams& p, int32_t sequence, int64_t unit,
                           const Merged& merged) {
  const int32_t flat_row = static_cast<int32_t>(unit / kPartialUnitsPerRow);
  const int unit_of_row = static_cast<int>(unit % kPartialUnitsPerRow);
  const int32_t rows_per_head = static_cast<int32_t>(p.partials.rows_per_head);
  const int32_t row = flat_row % rows_per_head;
  const int64_t head = int64_t{flat_row / rows_per_head} * p.group + row % p.group;
  const int64_t token = row / p.group;
  const bool empty = merged.sum == 0.0F;
  const float factor = empty ? 0.0F : 1.0F / merged.sum;
  T* out = static_cast<T*>(p.out) + sequence * p.out_stride[0] + token * p.out_stride[1] +
           head * p.out_stride[2] + partial_column(unit_of_row, 0);
  const auto low = pair_of(merged.out.x * factor, merged.out.y * factor, T{});
  const auto high = pair_of(merged.out.z * factor, merged.out.w * factor, T{});
  constexpr int kHigh = partial_column(0, 2) - partial_column(0, 0);
  if (p.paired_stores) {
    *reinterpret_cast<decltype(pair_of(0.0F, 0.0F, T{}))*>(out) = low;
    *reinterpret_cast<decltype(pair_of(0.0F, 0.0F, T{}))*>(out + kHigh) = high;
  } else {
    out[0] = low.x;
    out[1] = low.y;
    out[kHigh] = high.x;
    out[kHigh + 1] = high.y;
  }
  if (unit_of_row == 0 && p.lse != nullptr) {
    const float log2_sum = merged.frame + log2f(merged.sum);
    const float lse = p.lse_base == LseBase::kTwo ? log2_sum : log2_sum * 0.693147180559945309F;
    const float nothing = p.empty_lse == EmptyLse::kPositiveInfinity ? INFINITY : -INFINITY;
    p.lse[sequence * p.lse_stride[0] + head * p.lse_stride[1] + token * p.lse_stride[2]] =
        empty ? nothing : lse;
  }
}

// [4] [5] A job of a sequence of at most kPieces pieces: kUnits units a thread, unit u of all
// threads in row order. Lane u * kPieces + k weighs piece k of unit u.
template <typename T, int kPieces, int kUnits>
__device__ void do_short_job(const CombineParams& p, const SplitSequence& split,
                             int64_t first_unit) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  float4 out[kUnits][kPieces];
#pragma unroll
  for (int u = 0; u < kUnits; ++u) {
    const int64_t unit = first_unit + u * kThreads + threadIdx.x;
    load_units(p, split, 0, unit < units_of(p) ? split.num_pieces : 0, unit, out[u]);
  }
  const int64_t my_unit =
      first_unit + lane / kPieces % kUnits * kThreads + static_cast<int>(threadIdx.x) - lane;
  const int piece = lane % kPieces;
  const float2 stat = my_unit < units_of(p) && piece < split.num_pieces
                          ? load_stat(p, split, piece, my_unit)
                          : float2{kEmptyFrame, 0.0F};
  Merged mine;
  const float weight = weigh<kPieces>(stat, &mine);
#pragma unroll
  for (int u = 0; u < kUnits; ++u) {
    const int64_t unit = first_unit + u * kThreads + threadIdx.x;
    Merged merged;
    merged.frame = __shfl_sync(kAllLanes, mine.frame, u * kPieces);
    merged.sum = __shfl_sync(kAllLanes, mine.sum, u * kPieces);
#pragma unroll
    for (int k = 0; k < kPieces; ++k) {
      merged.add_weighted(__shfl_sync(kAllLanes, weight, u * kPieces + k), out[u][k]);
    }
    if (unit < units_of(p)) {
      store_unit<T>(p, split.sequence, unit, merged);
    }
  }
}

// What the threads of a long job hand each other.
struct Exchange {
  float2 stat[kSharingLanes];  // of each group: frame, sum
  float4 out[kThreads];
};

// [5] Adds up the groups' parts, in order, for the threads of group 0.
__device__ Merged merge_groups(const Exchange& exchange, const JobShape& shape, int local) {
  const int lane = static_cast<int>(threadIdx.x) % kSharingLanes;
  const int groups = 1 << shape.log2_groups;
  Merged merged;
  const float weight = weigh<kSharingLanes>(
      lane < groups ? exchange.stat[lane] : float2{kEmptyFrame, 0.0F}, &merged);
#pragma unroll
  for (int g = 0; g < kSharingLanes; ++g) {
    const float group_weight = __shfl_sync(kAllLanes, weight, g);
    if (g < groups) {
      merged.add_weighted(group_weight, exchange.out[g * shape.units + local]);
    }
  }
  return merged;
}

// [4] [5] A job of any number of pieces, in rounds: a unit's pieces are dealt to 2^log2_groups
// threads, in runs. Thread = group * units + unit.
template <typename T>
__device__ void do_long_job(const CombineParams& p, const SplitSequence& split, int64_t first_unit,
                            const JobShape& shape, Exchange& exchange) {
  const int lane = static_cast<int>(threadIdx.x) % kSharingLanes;
  const int first_lane = static_cast<int>(threadIdx.x) % 32 - lane;
  const int local = static_cast<int>(threadIdx.x) & (shape.units - 1);  // units: a power of two
  const int group = static_cast<int>(threadIdx.x) / shape.units;
  const int64_t unit = first_unit + local;
  const bool live = unit < units_of(p);  // the same for a warp: a row is four of them
  Merged merged;
  for (int32_t base = 0; base < split.num_pieces; base += kPiecesOfRound) {
    const int32_t left = split.num_pieces - base;
    const int32_t count = !live ? 0 : left < kPiecesOfRound ? left : kPiecesOfRound;
    const int32_t begin = base + ((count * group) >> shape.log2_groups);
    const int32_t end = base + ((count * (group + 1)) >> shape.log2_groups);
    float4 out[kPiecesAtOnce];
    load_units(p, split, begin, end, unit, out);
    const float2 stat =
        begin + lane < end ? load_stat(p, split, begin + lane, unit) : float2{kEmptyFrame, 0.0F};
    const float weight = weigh<kSharingLanes>(stat, &merged);
#pragma unroll
    for (int k = 0; k < kPiecesAtOnce; ++k) {
      merged.add_weighted(__shfl_sync(kAllLanes, weight, first_lane + k), out[k]);
    }
  }
  if (shape.log2_groups > 0) {
    exchange.out[threadIdx.x] = merged.out;
    if (local == 0) {
      exchange.stat[group] = {merged.frame, merged.sum};
    }
    __syncthreads();
    if (threadIdx.x < 32 || group == 0) {  // whole warps
      merged = merge_groups(exchange, shape, local);
    }
    __syncthreads();
  }
  if (live && group == 0) {
    store_unit<T>(p, split.sequence, unit, merged);
  }
}

template <typename T>
__device__ void do_job(const CombineParams& p, const SplitSequence& split, int64_t job,
                       Exchange& exchange) {
  const JobShape shape = shape_of(split.num_pieces);
  const int64_t first_unit = job * shape.units;
  if (shape.units_per_thread == 4) {
    do_short_job<T, 2, 4>(p, split, first_unit);
  } else if (shape.units_per_thread == 2) {
    do_short_job<T, 4, 2>(p, split, first_unit);
  } else {
    do_long_job<T>(p, split, first_unit, shape, exchange);
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads, kBlocksPerSm)
    combine_kernel(const __grid_constant__ CombineParams p) {
  __shared__ SplitSequence splits[kThreads];  // of the chunk; each thread reads its own
  __shared__ SplitSequence chosen;
  __shared__ Exchange exchange;
  const plan::ScheduleView view = plan::schedule_view(const_cast<void*>(p.schedule), p.config);
  const int64_t candidates = p.config.fixed_split_tiles > 0 ? p.batch : p.config.num_workers;
  int64_t next_job = blockIdx.x;  // of all; every gridDim.x-th is this block's
  int64_t jobs_so_far = 0;
  for (int64_t base = 0; base < candidates; base += kThreads) {
    SplitSequence& mine = splits[threadIdx.x];
    mine = candidate(p, view, base + threadIdx.x);  // [1]
    mine.jobs = jobs_of(p, mine);                   // [2]
    const Scan::Result jobs = Scan::exclusive_sum(mine.jobs);
    mine.jobs_before = jobs_so_far + jobs.before;
    jobs_so_far += jobs.total;
    for (; next_job < jobs_so_far; next_job += gridDim.x) {
      if (next_job >= mine.jobs_before && next_job < mine.jobs_before + mine.jobs) {
        chosen = mine;  // one thread's sequence has the job
      }
      __syncthreads();
      wait_for_predecessor();  // [3]
      do_job<T>(p, chosen, next_job - chosen.jobs_before, exchange);
      __syncthreads();
    }
  }
  wait_for_predecessor();  // also without a job: see Edge::kProgrammatic
}

CombineParams params_of(const DenseDecodePlan& plan, const DenseDecodeArguments& arguments,
                        const PartialLayout& partials) {
  const DenseDecodeProblem& problem = plan.problem;
  const char* workspace = static_cast<const char*>(arguments.workspace);
  CombineParams params = {};
  params.config = plan.split;
  params.partials = partials;
  params.schedule = arguments.schedule;
  params.partial_out = reinterpret_cast<const float4*>(workspace + partials.out_offset());
  params.partial_stat = reinterpret_cast<const PartialStat*>(workspace + partials.stat_offset());
  params.batch = static_cast<int32_t>(arguments.batch);
  params.group = static_cast<int32_t>(problem.group());
  params.out = arguments.out.data;
  params.lse = static_cast<float*>(arguments.lse.data);
  bool even = reinterpret_cast<uintptr_t>(params.out) % 4 == 0;
  for (size_t i = 0; i < 3; ++i) {
    params.out_stride[i] = arguments.out.stride[i];
    params.lse_stride[i] = arguments.lse.stride[i];
    even = even && (arguments.out.shape[i] <= 1 || params.out_stride[i] % 2 == 0);
  }
  params.lse_base = problem.lse_base;
  params.empty_lse = problem.empty_lse;
  params.paired_stores = even;
  return params;
}

// Whether any lengths that the plan allows give a sequence of more than one piece.
bool can_split(const plan::SplitConfig& config) {
  return config.fixed_split_tiles > 0 ? config.max_sequence_tiles > config.fixed_split_tiles
                                      : config.num_workers > 1 && config.max_sequence_tiles > 1;
}

// No schedule has more jobs: n pieces of a job's units are at least 4 loads for each thread of the
// block (n > 4; more below), and the last job of a sequence may be short.
int64_t most_jobs(const plan::SplitConfig& config, const PartialLayout& partials) {
  const int64_t loads = partials.num_rows() * kPartialUnitsPerRow;
  return plan::max_partials(config) / 2 + ceil_div<int64_t>(loads, kThreads * 4);
}

}  // namespace

Status launch_combine(const DenseDecodePlan& plan, const DenseDecodeArguments& arguments,
                      const PartialLayout& partials, int32_t num_sms) {
  if (!can_split(plan.split)) {
    return {};
  }
  const int64_t wave = int64_t{num_sms} * kBlocksPerSm;
  const int64_t jobs = most_jobs(plan.split, partials);
  const LaunchShape shape = {.grid = dim3(static_cast<unsigned>(wave < jobs ? wave : jobs)),
                             .block = dim3(kThreads),
                             .shared_bytes = 0,
                             .stream = static_cast<cudaStream_t>(arguments.stream),
                             .edge = Edge::kProgrammatic};
  const CombineParams params = params_of(plan, arguments, partials);
  const cudaError_t error = plan.problem.q_dtype == DType::kBFloat16
                                ? launch_kernel(combine_kernel<__nv_bfloat16>, shape, params)
                                : launch_kernel(combine_kernel<__half>, shape, params);
  return status_of(error, "dense_decode", "launching the combine");
}

}  // namespace seesaw::cuda
