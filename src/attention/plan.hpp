// What planning decides for attention, before any length is known. Operations derive their plans
// from it.
#pragma once

#include <cstdint>
#include <string>

#include "attention/problem.hpp"
#include "core/operation.hpp"
#include "split/split_kv.hpp"

namespace seesaw::attention {

struct Plan : seesaw::Plan {
  Problem attention;
  Options options;
  split::SplitConfig split;
  int32_t tile_rows = 0;     // query rows of a tile
  int32_t variant = 0;       // the kernel's own choice when planning; on the CPU, cpu::Target
  int32_t chunk_tokens = 0;  // CPU: tokens packed at a time
  std::string multiplier;    // CPU: what multiplies and why, in words
};

// The schedule's numbers for tiles of so many tokens, all but the costs: what every core begins
// with. Batch-invariant splits are left to it.
split::SplitConfig split_config_of(const Problem& problem, int32_t tile_tokens,
                                   int32_t num_workers);

// The last steps of every kernel's planning: applies what `seesaw tune` set of the schedule's
// numbers (split/knobs.hpp), sizes the schedule and lists the numbers for plan_info.
Status finish_plan(KnobValues knobs, Plan* plan);

// The pieces of a schedule in host memory, for plan_pieces.
Status list_pieces(const Plan& plan, const void* schedule, PieceVisitor visitor);

// The same with an operation's type, for its tables.
template <typename PlanType>
Status list_pieces_of(const PlanType& plan, const void* schedule, PieceVisitor visitor) {
  return list_pieces(plan, schedule, visitor);
}

}  // namespace seesaw::attention
