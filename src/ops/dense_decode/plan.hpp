// What planning decides for dense decoding, before any sequence length is known.
#pragma once

#include <cstdint>
#include <string>

#include "core/operation.hpp"
#include "ops/dense_decode/problem.hpp"
#include "split/split_kv.hpp"

namespace seesaw::dense_decode {

struct DenseDecodePlan : Plan {
  DenseDecodeProblem problem;
  Options options;
  split::SplitConfig split;
  int32_t tile_rows = 0;     // query rows of a tile
  int32_t variant = 0;       // the kernel's own choice when planning; on the CPU, cpu::Target
  int32_t chunk_tokens = 0;  // CPU: tokens packed at a time
  std::string multiplier;    // CPU: what multiplies and why, in words
};

using Functions = KernelFunctions<DenseDecodeProblem, Args, DenseDecodePlan>;

// The last steps of every kernel's planning: applies what `seesaw tune` set of the schedule's
// numbers (split/knobs.hpp), sizes the schedule and lists the numbers for plan_info.
Status finish_plan(KnobValues knobs, DenseDecodePlan* plan);

// The lengths of a call, in whichever memory they are, as the planner takes them.
split::Lengths planned_lengths(const DenseDecodeProblem& problem, const Args& args);

// The functions that kernels on host memory share: the schedule is the host planner's.
Status prepare_on_host(const DenseDecodePlan& plan, const Args& args, const Call& call);
Status list_pieces(const DenseDecodePlan& plan, const void* schedule, PieceVisitor visitor);

// What kernels on host memory can look at before they run: lengths, page ids, the schedule.
Status check_host_call(const DenseDecodePlan& plan, const Args& args, const Call& call);

}  // namespace seesaw::dense_decode
