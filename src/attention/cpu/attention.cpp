// Planning and the parallel region; what each worker does is in pieces.cpp and merge.cpp.
#include "attention/cpu/attention.hpp"

#include <omp.h>

#include <algorithm>
#include <climits>

#include "attention/cpu/job.hpp"
#include "base/fork.hpp"
#include "base/math.hpp"
#include "base/message.hpp"
#include "cpu/select.hpp"

namespace seesaw::attention::cpu {
namespace {

// Packing the query and storing the result of a piece cost less than attending a tile does.
constexpr int32_t kPieceCostTiles = 1;

// Batch-invariant splits depend on the longest sequence that the plan allows, and on nothing else:
// 16 of them, but none shorter than 1024 tokens, where a partial's cost would show.
constexpr int32_t kInvariantSplits = 16;
constexpr int32_t kMinInvariantTiles = 1024 / kTileTokens;

split::SplitConfig split_config(const Problem& problem, const Options& options) {
  split::SplitConfig split = split_config_of(problem, kTileTokens, options.num_threads);
  split.piece_cost_tiles = kPieceCostTiles;
  if (options.batch_invariant) {
    split.fixed_split_tiles =
        std::max(ceil_div(split.max_sequence_tiles, kInvariantSplits), kMinInvariantTiles);
  }
  return split;
}

// What the elements of the caches are multiplied as: those of quantised formats as the query's, but
// that halves are not multiplied (decision 0032). bfloat16 only if all are.
DType multiplied_type(const Problem& problem) {
  const auto type_of = [&](const StreamShape& stream) {
    return is_plain(stream.format.id)           ? static_cast<DType>(stream.format.id)
           : problem.q_type == DType::kBFloat16 ? DType::kBFloat16
                                                : DType::kFloat32;
  };
  const DType type = type_of(problem.streams[0]);
  return problem.num_streams == 1 || type_of(problem.streams[1]) == type ? type : DType::kFloat32;
}

int32_t knob_or(KnobValues knobs, size_t knob, int32_t otherwise) {
  return knobs.empty() || knobs[knob] == kUnset ? otherwise : knobs[knob];
}

}  // namespace

const Microkernel& microkernel_of(const Plan& plan) {
  return choose_microkernel(plan.attention.q_type, multiplied_type(plan.attention),
                            static_cast<Target>(plan.variant));
}

int32_t threads_of(const Plan& plan) {
  const int32_t workers = plan.split.num_workers;
  return plan.options.follow_threads ? std::min(workers, omp_get_max_threads()) : workers;
}

Job make_job(const Plan& plan, const Call& call, const Microkernel& kernel) {
  Geometry geometry = make_geometry(plan.attention, kernel, plan.chunk_tokens);
  geometry.max_logits = geometry.max_logits && call.max_logits.data != nullptr;
  return {plan, call, kernel, geometry,
          // Read only; the view's pointers are mutable because the builder shares it.
          split::schedule_view(const_cast<void*>(call.schedule), plan.split)};
}

Support supports() {
  if (!choose_target().has_value()) {
    return Support::no(
        fmt::format("the environment variable SEESAW_CPU_TARGET is set to something other than {}",
                    fmt::join(kTargetNames, ", ")));
  }
  return Support::yes();
}

Status plan(const Problem& problem, const Options& options, KnobValues knobs, Plan* plan) {
  plan->attention = problem;
  plan->options = options;
  plan->split = split_config(problem, options);
  const TargetChoice choice = choose_target().value_or(TargetChoice{});
  const Target target = target_for(problem.q_type, multiplied_type(problem), choice.target);
  plan->variant = static_cast<int32_t>(target);
  const Microkernel& kernel = microkernel_of(*plan);
  const Geometry geometry = make_geometry(problem, kernel, knob_or(knobs, kChunkTokens, 0));
  plan->tile_rows = static_cast<int32_t>(std::min(geometry.group_rows, kRowBlock));
  plan->chunk_tokens = static_cast<int32_t>(geometry.chunk_tokens);
  SEESAW_RETURN_IF_ERROR(finish_plan(knobs, plan));
  plan->multiplier = fmt::format(
      "CPU: multiplies with {}: {}", kernel.name,
      target == choice.target ? choice.reason : "only bfloat16 is multiplied in pairs or tiles");
  plan->numbers.push_back({"multiplier", plan->multiplier.c_str(), plan->variant});
  plan->workspace_bytes =
      static_cast<uint64_t>(plan->split.num_workers) * scratch_bytes(geometry, kernel) +
      static_cast<uint64_t>(split::max_partials(plan->split)) * partial_bytes(geometry);
  return {};
}

void run(const Plan& plan, const Call& call) {
  const Job job = make_job(plan, call, microkernel_of(plan));
  const int32_t workers = plan.split.num_workers;
  // OpenMP may deliver fewer threads than asked for (inside another parallel region, or in a child
  // of fork(), one), so a thread may be several workers. Who does what is the workers' matter: the
  // bits are the same.
#pragma omp parallel num_threads(threads_here(threads_of(plan)))
  {
    const int32_t threads = omp_get_num_threads();
    for (int32_t worker = omp_get_thread_num(); worker < workers; worker += threads) {
      do_pieces(job, worker);
    }
#pragma omp barrier
    for (int32_t worker = omp_get_thread_num(); worker < workers; worker += threads) {
      merge_partials(job, worker);
    }
  }
}

}  // namespace seesaw::attention::cpu
