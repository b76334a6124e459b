// Planning and the parallel region; what each worker does is in pieces.cpp and merge.cpp.
#include "ops/dense_decode/cpu/dense_decode.hpp"

#include <omp.h>

#include <algorithm>
#include <climits>

#include "base/math.hpp"
#include "ops/dense_decode/cpu/call.hpp"
#include "ops/dense_decode/cpu/layout.hpp"
#include "cpu/select.hpp"

namespace seesaw::dense_decode::cpu {
namespace {

// Packing the query and storing the result of a piece cost less than attending a tile does.
constexpr int32_t kPieceCostTiles = 1;

// Batch-invariant splits depend on the longest sequence that the plan allows, and on nothing else:
// 16 of them, but none shorter than 1024 tokens, where a partial's cost would show.
constexpr int32_t kInvariantSplits = 16;
constexpr int32_t kMinInvariantTiles = 1024 / kTileTokens;

split::SplitConfig split_config(const DenseDecodeProblem& problem) {
  split::SplitConfig split;
  split.max_batch = static_cast<int32_t>(problem.batch);
  split.num_workers = std::max(problem.num_threads, 1);
  split.tile_tokens = kTileTokens;
  split.piece_cost_tiles = kPieceCostTiles;
  const int64_t max_tokens = std::min<int64_t>(problem.max_tokens(), INT32_MAX);
  split.max_sequence_tiles = static_cast<int32_t>(ceil_div<int64_t>(max_tokens, split.tile_tokens));
  if (problem.splits == Splits::kBatchInvariant) {
    split.fixed_split_tiles =
        std::max(ceil_div(split.max_sequence_tiles, kInvariantSplits), kMinInvariantTiles);
  }
  return split;
}

}  // namespace

Support supports_dense_decode(const DenseDecodeProblem& problem) {
  if (problem.device.type != DeviceType::kCpu) {
    return Support::no("runs on the CPU only; the tensors are on a GPU");
  }
  if (!allowed_target().has_value()) {
    return Support::no(
        "the environment variable SEESAW_CPU_TARGET is set to something other than baseline, avx2, "
        "avx512 or avx512bf16");
  }
  return Support::yes();
}

DenseDecodePlan plan_dense_decode(const DenseDecodeProblem& problem) {
  const Target target = allowed_target().value_or(Target::kBaseline);
  const Microkernel& kernel = choose_microkernel(problem.q_dtype, problem.kv_dtype, target);
  const Geometry geometry = make_geometry(problem, kernel);
  DenseDecodePlan plan;
  plan.problem = problem;
  plan.split = split_config(problem);
  plan.variant = static_cast<int32_t>(target);
  plan.tile_rows = static_cast<int32_t>(std::min(geometry.group_rows, kRowBlock));
  plan.chunk_tokens = static_cast<int32_t>(geometry.chunk_tokens);
  plan.workspace_bytes =
      static_cast<size_t>(plan.split.num_workers) * scratch_bytes(geometry, kernel) +
      static_cast<size_t>(split::max_partials(plan.split)) * partial_bytes(geometry);
  return plan;
}

Status run_dense_decode(const DenseDecodePlan& plan, const DenseDecodeArguments& arguments) {
  const Microkernel& kernel = choose_microkernel(plan.problem.q_dtype, plan.problem.kv_dtype, static_cast<Target>(plan.variant));
  const Call call{plan, arguments, kernel, make_geometry(plan.problem, kernel),
                  // Read only; the view's pointers are mutable because the builder shares it.
                  split::schedule_view(const_cast<void*>(arguments.schedule), plan.split)};
  const int32_t workers = plan.split.num_workers;
  // OpenMP may deliver fewer threads than asked for (inside another parallel region, one), so a
  // thread may be several workers. Who does what is the workers' matter: the bits are the same.
#pragma omp parallel num_threads(workers)
  {
    const int32_t threads = omp_get_num_threads();
    for (int32_t worker = omp_get_thread_num(); worker < workers; worker += threads) {
      do_pieces(call, worker);
    }
#pragma omp barrier
    for (int32_t worker = omp_get_thread_num(); worker < workers; worker += threads) {
      merge_partials(call, worker);
    }
  }
  return {};
}

}  // namespace seesaw::dense_decode::cpu
