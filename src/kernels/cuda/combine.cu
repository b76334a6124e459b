// The combine, by blocks that share out *jobs*: a job is some units (4 columns of a row) of one
// split sequence.
//
//   [1] list the split sequences, a candidate a thread: in balanced mode only a worker's last piece
//       can begin one, so there are as many candidates as workers; batch-invariant, every sequence
//   [2] cut each into jobs: the more pieces, the fewer units and the more threads for each unit
//   [3] wait for the attention kernel: everything before this overlaps its tail
//   [4] a thread merges a run of the pieces of one unit
//   [5] the threads of a unit merge through shared memory, in the order of the pieces; store
//
// The job's shape is a function of the number of pieces alone, so that a sequence's bits depend
// neither on the rest of the batch nor on the device.
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
constexpr int kBlocksPerSm = 3;    // of 64 to 85 registers a thread
constexpr int kPiecesAtOnce = 8;   // loads in flight a thread: 128 bytes, and their statistics
constexpr int kMaxLog2Groups = 5;  // at most 32 threads a unit: 8 units, 128 bytes, a job
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
  int64_t jobs_before;  // of the chunk of candidates
  int32_t sequence;
  int32_t first_piece;
  int32_t num_pieces;
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

  // Adds what is in the frame `other_frame`, which must not exceed this frame.
  __device__ void add(float other_frame, float other_sum, const float4& other) {
    const float weight = exp2f(other_frame - frame);
    sum += weight * other_sum;
    out.x += weight * other.x;
    out.y += weight * other.y;
    out.z += weight * other.z;
    out.w += weight * other.w;
  }
};

// log2 of the threads that share a unit: at most kPiecesAtOnce pieces each, if possible.
__device__ int log2_groups(int32_t num_pieces) {
  int log2 = 0;
  while (log2 < kMaxLog2Groups && (kPiecesAtOnce << log2) < num_pieces) {
    ++log2;
  }
  return log2;
}

__device__ int64_t units_of(const CombineParams& p) {
  return p.partials.h_kv * p.partials.rows_per_head * kPartialUnitsPerRow;
}

// [1] The split sequence that candidate `index` stands for; num_pieces = 0 if none.
__device__ SplitSequence candidate(const CombineParams& p, const plan::ScheduleView& view,
                                   int64_t index) {
  SplitSequence found = {0, 0, 0, 0};
  if (p.config.fixed_split_tiles > 0) {
    if (index >= p.batch) {
      return found;
    }
    found.sequence = static_cast<int32_t>(index);
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
    if (last.partial != 2 * index + 1) {
      return found;
    }
    found.sequence = last.sequence;
  }
  found.first_piece = view.sequence_piece_begin[found.sequence];
  const int32_t pieces = view.sequence_piece_begin[found.sequence + 1] - found.first_piece;
  found.num_pieces = pieces > 1 ? pieces : 0;
  return found;
}

__device__ int64_t jobs_of(const CombineParams& p, const SplitSequence& split) {
  if (split.num_pieces == 0) {
    return 0;
  }
  return ceil_div<int64_t>(units_of(p) << log2_groups(split.num_pieces), kThreads);
}

// [4] Pieces [begin, end) of the sequence, one unit of one row.
__device__ Merged merge_run(const CombineParams& p, const plan::ScheduleView& view, int32_t begin,
                            int32_t end, int64_t unit) {
  const int64_t units = units_of(p);
  const int64_t rows = units / kPartialUnitsPerRow;
  const int64_t row = unit / kPartialUnitsPerRow;
  Merged merged;
  for (int32_t base = begin; base < end; base += kPiecesAtOnce) {
    PartialStat stat[kPiecesAtOnce];
    float4 out[kPiecesAtOnce];
#pragma unroll
    for (int k = 0; k < kPiecesAtOnce; ++k) {
      stat[k] = {kEmptyFrame, 0.0F};
      out[k] = {0.0F, 0.0F, 0.0F, 0.0F};
      if (base + k < end) {
        const int64_t slot = view.pieces[base + k].partial;
        const float2 pair =
            __ldcg(reinterpret_cast<const float2*>(p.partial_stat) + slot * rows + row);
        stat[k] = {pair.x, pair.y};
        out[k] = __ldcg(p.partial_out + slot * units + unit);
      }
    }
    float frame = merged.frame;
#pragma unroll
    for (int k = 0; k < kPiecesAtOnce; ++k) {
      frame = fmaxf(frame, stat[k].frame);
    }
    merged.scale_to(frame);
#pragma unroll
    for (int k = 0; k < kPiecesAtOnce; ++k) {
      if (base + k < end) {  // a NaN frame must not be dropped, an absent piece must
        merged.add(stat[k].frame, stat[k].sum, out[k]);
      }
    }
  }
  return merged;
}

// What the threads of a job hand over to those that store.
struct Exchange {
  float4 out[kThreads];
  float2 stat[kThreads];
};

// [5] Merges the `groups` runs of a unit, in order. Thread (group, unit) = group * units + unit.
__device__ Merged merge_groups(const Exchange& exchange, int groups, int units_of_job, int unit) {
  Merged merged;
  for (int g = 0; g < groups; ++g) {
    merged.frame = fmaxf(merged.frame, exchange.stat[g * units_of_job + unit].x);
  }
  for (int g = 0; g < groups; ++g) {
    const float2 stat = exchange.stat[g * units_of_job + unit];
    merged.add(stat.x, stat.y, exchange.out[g * units_of_job + unit]);
  }
  return merged;
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

template <typename T>
__device__ void do_job(const CombineParams& p, const plan::ScheduleView& view,
                       const SplitSequence& split, int64_t job, Exchange& exchange) {
  const int log2 = log2_groups(split.num_pieces);
  const int groups = 1 << log2;
  const int units_of_job = kThreads >> log2;
  const int group = static_cast<int>(threadIdx.x) / units_of_job;
  const int local = static_cast<int>(threadIdx.x) % units_of_job;
  const int64_t unit = job * units_of_job + local;
  const bool live = unit < units_of(p);
  Merged merged;
  if (live) {
    const int32_t begin = split.first_piece + split.num_pieces * group / groups;
    const int32_t end = split.first_piece + split.num_pieces * (group + 1) / groups;
    merged = merge_run(p, view, begin, end, unit);
  }
  if (groups > 1) {
    exchange.out[threadIdx.x] = merged.out;
    exchange.stat[threadIdx.x] = {merged.frame, merged.sum};
    __syncthreads();
    if (group == 0) {
      merged = merge_groups(exchange, groups, units_of_job, local);
    }
    __syncthreads();
  }
  if (live && group == 0) {
    store_unit<T>(p, split.sequence, unit, merged);
  }
}

// The sequence of the chunk that job `job` of it belongs to.
__device__ int sequence_of_job(const SplitSequence* splits, int64_t job) {
  int low = 0;
  int high = kThreads;  // the answer is the last with jobs_before <= job, in [low, high)
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (splits[middle].jobs_before <= job) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return low;
}

template <typename T>
__global__ void __launch_bounds__(kThreads, kBlocksPerSm)
    combine_kernel(const __grid_constant__ CombineParams p) {
  __shared__ SplitSequence splits[kThreads];
  __shared__ Exchange exchange;
  const plan::ScheduleView view = plan::schedule_view(const_cast<void*>(p.schedule), p.config);
  const int64_t candidates = p.config.fixed_split_tiles > 0 ? p.batch : p.config.num_workers;
  int64_t next_job = blockIdx.x;  // of all; every gridDim.x-th is this block's
  int64_t jobs_so_far = 0;
  for (int64_t base = 0; base < candidates; base += kThreads) {
    SplitSequence split = candidate(p, view, base + threadIdx.x);      // [1]
    const Scan::Result jobs = Scan::exclusive_sum(jobs_of(p, split));  // [2]
    split.jobs_before = jobs.before;
    splits[threadIdx.x] = split;
    __syncthreads();
    wait_for_predecessor();  // [3]
    for (; next_job < jobs_so_far + jobs.total; next_job += gridDim.x) {
      const int64_t job = next_job - jobs_so_far;
      const SplitSequence& mine = splits[sequence_of_job(splits, job)];
      do_job<T>(p, view, mine, job - mine.jobs_before, exchange);
    }
    jobs_so_far += jobs.total;
    __syncthreads();
  }
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

// Blocks that can have a job: jobs are no more than the partials' units over kPiecesAtOnce / 2 and
// kThreads, rounded up once a sequence.
int64_t most_jobs(const plan::SplitConfig& config, const PartialLayout& partials) {
  const int64_t units = partials.num_rows() * kPartialUnitsPerRow;
  return plan::max_partials(config) / 2 + ceil_div<int64_t>(units, kThreads * 2);
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
