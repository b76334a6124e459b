// The combine, by blocks that share out *jobs*: a job is some units (8 columns of a row) of one
// split sequence.
//
//   [1] as many pieces as sequences: nothing is split. All blocks but one leave, so that the next
//       kernel finds the SMs empty, and that one waits, so that the stream's order holds
//   [2] list the split sequences, a candidate a thread
//   [3] cut each into jobs. A thread has up to 8 loads of 16 bytes in flight: of two pieces four
//       units, of four pieces two, of five one; of more, several threads share a unit
//   [4] find the block's first job, then wait for the attention kernel: everything before this
//       overlaps its tail
//   [5] weigh the pieces: 2^(frame - largest frame). The statistics are the same for lanes of one
//       half of a row, so a lane loads and weighs one piece for all
//   [6] the threads of a unit add up through shared memory, in the order of the pieces; store
//
// The order of a sum is a function of the number of pieces alone, so that a sequence's bits depend
// neither on the rest of the batch nor on the device. docs/notebook/0010 has the first times, 0051
// those of 16-bit partials.
#include "gpu/combine.hpp"

#include "gpu/block_scan.cuh"
#include "gpu/combine_jobs.cuh"
#include "gpu/device.hpp"
#include "gpu/launch.cuh"

namespace seesaw::gpu {
namespace {

using combine::Exchange;
using combine::kBlocksPerSm;
using combine::kThreads;
using combine::Params;
using combine::SplitSequence;
using Scan = BlockScan<kThreads>;

template <typename T>
__global__ void __launch_bounds__(kThreads, kBlocksPerSm)
    combine_kernel(const __grid_constant__ Params p) {
  __shared__ SplitSequence splits[kThreads];  // of the chunk; each thread reads its own
  __shared__ SplitSequence chosen;
  __shared__ Exchange exchange;
  const split::ScheduleView view = split::schedule_view(const_cast<void*>(p.schedule), p.config);
  const int32_t candidates = combine::num_candidates(p);
  int32_t next_job = static_cast<int32_t>(blockIdx.x);  // every gridDim.x-th is this block's
  int32_t jobs_so_far = 0;
  for (int32_t base = 0; base < candidates; base += kThreads) {
    SplitSequence& mine = splits[threadIdx.x];
    const int32_t index = base + static_cast<int32_t>(threadIdx.x);
    const int32_t num_pieces = combine::load_now(&view.header->num_pieces);
    const combine::PieceRange range = combine::pieces_of_worker(p, view, index);
    if (num_pieces == p.batch) {  // [1]
      if (blockIdx.x == 0) wait_for_predecessor();
      return;
    }
    mine = combine::candidate(p, view, index, range);  // [2]
    mine.jobs = combine::jobs_of(p, mine);             // [3]
    const Scan::Result jobs = Scan::exclusive_sum(mine.jobs);
    mine.jobs_before = jobs_so_far + static_cast<int32_t>(jobs.before);
    jobs_so_far += static_cast<int32_t>(jobs.total);
    for (; next_job < jobs_so_far; next_job += static_cast<int32_t>(gridDim.x)) {
      if (next_job >= mine.jobs_before && next_job < mine.jobs_before + mine.jobs) {
        chosen = mine;  // one thread's sequence has the job
      }
      __syncthreads();
      wait_for_predecessor();  // [4]
      combine::do_job<T>(p, chosen, next_job - chosen.jobs_before, exchange);
      __syncthreads();
    }
  }
  wait_for_predecessor();  // also without a job: see Edge::kProgrammatic
}

Params params_of(const dense_decode::DenseDecodePlan& plan, const dense_decode::Args& args,
                 const Call& call, const PartialLayout& partials) {
  const dense_decode::DenseDecodeProblem& problem = plan.problem;
  const char* workspace = static_cast<const char*>(call.workspace);
  Params params = {};
  params.config = plan.split;
  params.partials = partials;
  params.schedule = call.schedule;
  params.partial_out = reinterpret_cast<const uint4*>(workspace + partials.out_offset());
  params.partial_stat = reinterpret_cast<const PartialStat*>(workspace + partials.stat_offset());
  params.batch = static_cast<int32_t>(args.seq_lens.shape[0]);
  params.rows_per_head = combine::Divisor(static_cast<uint32_t>(partials.rows_per_head));
  params.group = combine::Divisor(static_cast<uint32_t>(problem.group()));
  params.out = args.out.data;
  params.lse = static_cast<float*>(args.lse.data);
  bool even = reinterpret_cast<uintptr_t>(params.out) % 4 == 0;
  for (size_t i = 0; i < 3; ++i) {
    params.out_stride[i] = args.out.stride[i];
    params.lse_stride[i] = args.lse.stride[i];
    even = even && (args.out.shape[i] <= 1 || params.out_stride[i] % 2 == 0);
  }
  params.lse_base = problem.lse();
  params.empty_lse = problem.lse_if_empty();
  constexpr int64_t kManyRows = 64;
  params.many_rows = partials.h_kv * partials.rows_per_head >= kManyRows;
  params.paired_stores = even;
  return params;
}

// Whether any lengths that the plan allows give a sequence of more than one piece.
bool can_split(const split::SplitConfig& config) {
  return config.fixed_split_tiles > 0 ? config.max_sequence_tiles > config.fixed_split_tiles
                                      : config.num_workers > 1 && config.max_sequence_tiles > 1;
}

// No schedule has more jobs: n pieces of a job's units are at least 2 loads for each thread of the
// block, and the last job of a sequence may be short.
int64_t most_jobs(const split::SplitConfig& config, const PartialLayout& partials) {
  const int64_t loads = partials.num_rows() * kPartialUnitsPerRow;
  return split::max_partials(config) / 2 + ceil_div<int64_t>(loads, kThreads * 2);
}

}  // namespace

Status launch_combine(const dense_decode::DenseDecodePlan& plan, const dense_decode::Args& args,
                      const Call& call, const PartialLayout& partials, int32_t num_sms) {
  if (!can_split(plan.split)) {
    return {};
  }
  const int64_t wave = int64_t{num_sms} * kBlocksPerSm;
  const int64_t jobs = most_jobs(plan.split, partials);
  const LaunchShape shape = {.grid = dim3(static_cast<unsigned>(wave < jobs ? wave : jobs)),
                             .block = dim3(kThreads),
                             .shared_bytes = 0,
                             .stream = static_cast<cudaStream_t>(call.stream),
                             .edge = Edge::kProgrammatic};
  const Params params = params_of(plan, args, call, partials);
  const cudaError_t error = plan.problem.q_type() == DType::kBFloat16
                                ? launch_kernel(combine_kernel<__nv_bfloat16>, shape, params)
                                : launch_kernel(combine_kernel<__half>, shape, params);
  return status_of(error, "dense_decode", "launching the combine");
}

}  // namespace seesaw::gpu
