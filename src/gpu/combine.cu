// The combine, by blocks that share out *jobs*: a job is some units (8 columns of a row) of one
// split sequence.
//
//   [1] as many pieces as items: nothing is split. All blocks but one leave, so that the next
//       kernel finds the SMs empty, and that one waits, so that the stream's order holds
//   [2] list the split items, a candidate a thread
//   [3] cut each into jobs. A thread has up to 8 loads of 16 bytes in flight: of two pieces four
//       units, of four pieces two, of five one; of more, several threads share a unit
//   [4] find the block's first job, then wait for the attention kernel: everything before this
//       overlaps its tail
//   [5] weigh the pieces: 2^(frame - largest frame). The statistics are the same for lanes of one
//       block of a row, so a lane loads and weighs one piece for all
//   [6] the threads of a unit add up through shared memory, in the order of the pieces; store
//
// The order of a sum is a function of the number of pieces alone, so that a sequence's bits depend
// neither on the rest of the batch nor on the device. docs/notebook/0010 has the first times, 0051
// those of 16-bit partials.
#include "gpu/combine.hpp"

#include <bit>
#include <limits>
#include <string>

#include "gpu/block_scan.cuh"
#include "gpu/combine_jobs.cuh"
#include "gpu/device.hpp"
#include "gpu/launch.cuh"
#include "gpu/ptx/grid_dependency.cuh"

namespace seesaw::gpu {
namespace {

using combine::Exchange;
using combine::kBlocksPerSm;
using combine::kThreads;
using combine::Output;
using combine::Params;
using combine::SplitItem;
using combine::Stores;
using Scan = BlockScan<kThreads>;

template <typename Output>
__global__ void __launch_bounds__(kThreads, Output::kStores == Stores::kPairs && !Output::kExtras
                                                ? kBlocksPerSm
                                                : 1)
    combine_kernel(const __grid_constant__ Params p) {
  __shared__ SplitItem splits[kThreads];  // of the chunk; each thread reads its own
  __shared__ SplitItem chosen;
  __shared__ Exchange exchange;
  const split::ScheduleView view = split::schedule_view(const_cast<void*>(p.schedule), p.config);
  const int32_t candidates = combine::num_candidates(p);
  int32_t next_job = static_cast<int32_t>(blockIdx.x);  // every gridDim.x-th is this block's
  int32_t jobs_so_far = 0;
  for (int32_t base = 0; base < candidates; base += kThreads) {
    SplitItem& mine = splits[threadIdx.x];
    const int32_t index = base + static_cast<int32_t>(threadIdx.x);
    const int32_t num_pieces = ptx::load_now(&view.header->num_pieces);
    const int32_t last_piece = combine::last_piece_of_worker(p, view, index);
    if (num_pieces == combine::num_items(p)) {  // [1]
      if (blockIdx.x == 0) ptx::wait_for_previous_grid();
      return;
    }
    mine = combine::candidate(p, view, index, last_piece);  // [2]
    mine.jobs = combine::jobs_of(p, mine);                  // [3]
    const Scan::Result jobs = Scan::exclusive_sum(mine.jobs);
    mine.jobs_before = jobs_so_far + static_cast<int32_t>(jobs.before);
    jobs_so_far += static_cast<int32_t>(jobs.total);
    for (; next_job < jobs_so_far; next_job += static_cast<int32_t>(gridDim.x)) {
      if (next_job >= mine.jobs_before && next_job < mine.jobs_before + mine.jobs) {
        chosen = mine;  // one thread's item has the job
      }
      __syncthreads();
      ptx::wait_for_previous_grid();  // [4]
      combine::do_job<Output>(p, chosen, next_job - chosen.jobs_before, exchange);
      __syncthreads();
    }
  }
  ptx::wait_for_previous_grid();  // also without a job: see Edge::kProgrammatic
}

// Whether every pair of columns that a thread stores exists, and starts on a multiple of its four
// bytes.
bool pairs_allowed(const CombineCall& call) {
  const int64_t extent[3] = {call.batch, call.rows / call.group, call.group * call.partials.h_kv};
  bool aligned = reinterpret_cast<uintptr_t>(call.out) % 4 == 0 &&
                 call.partials.d_v % partial_block_columns(call.partials.d_v) == 0;
  for (size_t i = 0; i < 3; ++i) {
    aligned = aligned && (extent[i] <= 1 || call.out_stride[i] % 2 == 0);
  }
  return aligned;
}

int64_t units_of_slot(const PartialLayout& partials) {
  return partials.rows_per_slot() * partial_units(partials.d_v);
}

Params params_of(const CombineCall& call) {
  const PartialLayout& partials = call.partials;
  const char* workspace = static_cast<const char*>(call.workspace);
  Params params = {};
  params.config = call.split;
  params.schedule = call.schedule;
  params.schedule_tag = split::schedule_tag(call.split, call.batch);
  params.partial_out = reinterpret_cast<const uint4*>(workspace + partials.out_offset());
  params.partial_stat = reinterpret_cast<const PartialStat*>(workspace + partials.stat_offset());
  params.units = static_cast<int32_t>(units_of_slot(partials));
  const int block_units = partial_block_columns(partials.d_v) / kPartialUnitElements;
  params.blocks = params.units / block_units;
  params.log2_block_units = std::countr_zero(static_cast<unsigned>(block_units));
  params.blocks_per_row = Divisor(static_cast<uint32_t>(partial_blocks(partials.d_v)));
  params.d_v = static_cast<int32_t>(partials.d_v);
  params.batch = call.batch;
  params.rows = static_cast<int32_t>(call.rows);
  params.rows_per_head = Divisor(static_cast<uint32_t>(partials.rows_per_head));
  params.group = Divisor(static_cast<uint32_t>(call.group));
  params.out = call.out;
  params.lse = call.lse;
  for (size_t i = 0; i < 3; ++i) {
    params.out_stride[i] = call.out_stride[i];
    params.lse_stride[i] = call.lse_stride[i];
  }
  params.lse_factor = call.lse_factor;
  params.empty_lse = call.empty_lse;
  params.items_per_sequence = Divisor(static_cast<uint32_t>(call.items_per_sequence));
  params.query_begin = call.query_begin;
  params.max_logits = call.max_logits;
  for (size_t i = 0; i < 3; ++i) params.max_logits_stride[i] = call.max_logits_stride[i];
  params.sinks = call.sinks;
  constexpr int64_t kManyRows = 64;
  params.many_rows = partials.rows_per_slot() >= kManyRows;
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
  const int64_t loads = partials.num_rows() * partial_units(partials.d_v);
  return split::max_partials(config) / 2 + ceil_div<int64_t>(loads, kThreads * 2);
}

template <typename Element>
auto kernel_for(const CombineCall& call) {
  const bool extras = call.items_per_sequence != 1 || call.query_begin != nullptr ||
                      call.max_logits != nullptr || call.sinks != nullptr;
  if (!pairs_allowed(call)) {
    return combine_kernel<Output<Element, Stores::kSingle, true>>;
  }
  return extras ? combine_kernel<Output<Element, Stores::kPairs, true>>
                : combine_kernel<Output<Element, Stores::kPairs, false>>;
}

}  // namespace

Status launch_combine(const CombineCall& call) {
  if (!can_split(call.split)) {
    return {};
  }
  // With room for the last job's units behind them.
  constexpr int64_t kMostUnits = std::numeric_limits<int32_t>::max() - 4 * kThreads;
  if (units_of_slot(call.partials) > kMostUnits) {
    return not_supported("combine: " + std::to_string(call.partials.rows_per_slot()) +
                         " query rows of a piece, allowed: " +
                         std::to_string(kMostUnits / partial_units(call.partials.d_v)) +
                         ". Compute fewer query rows at a time.");
  }
  const int64_t wave = int64_t{call.num_sms} * kBlocksPerSm;
  const int64_t jobs = most_jobs(call.split, call.partials);
  const LaunchShape shape = {.grid = dim3(static_cast<unsigned>(wave < jobs ? wave : jobs)),
                             .block = dim3(kThreads),
                             .shared_bytes = 0,
                             .stream = call.stream,
                             .edge = call.edge};
  const auto kernel = call.out_dtype == DType::kBFloat16 ? kernel_for<__nv_bfloat16>(call)
                                                         : kernel_for<__half>(call);
  return status_of(launch_kernel(kernel, shape, params_of(call)), "combine",
                   "launching the combine");
}

}  // namespace seesaw::gpu
