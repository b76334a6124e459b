#include "attention/plan.hpp"

#include <algorithm>
#include <climits>

#include "split/check_schedule.hpp"
#include "split/knobs.hpp"

namespace seesaw::attention {

split::SplitConfig split_config_of(const Problem& problem, int32_t tile_tokens,
                                   int32_t num_workers) {
  split::SplitConfig split;
  split.max_batch = static_cast<int32_t>(problem.items);
  split.num_workers = num_workers;
  split.tile_tokens = tile_tokens;
  for (size_t s = 0; s < problem.num_streams; ++s) {
    const int64_t tokens = std::min<int64_t>(planned_tokens(problem, s), INT32_MAX);
    split.max_sequence_tiles += split::tiles_of(static_cast<int32_t>(tokens), tile_tokens);
  }
  return split;
}

Status finish_plan(KnobValues knobs, Plan* plan) {
  SEESAW_RETURN_IF_ERROR(split::apply_knobs(knobs, &plan->split));
  SEESAW_RETURN_IF_ERROR(split::check_config(plan->split));
  plan->schedule_bytes = split::schedule_bytes(plan->split);
  plan->numbers = {
      {"num_workers", "CPU threads, or thread blocks that share the KV work",
       plan->split.num_workers},
      {"tile_tokens", "KV tokens of a tile", plan->split.tile_tokens},
      {"tile_rows", "query rows of a tile", plan->tile_rows},
      {"fixed_split_tiles", "batch-invariant: tiles of every split; otherwise 0",
       plan->split.fixed_split_tiles},
      {"piece_cost_tiles", "what starting and ending a piece costs the schedule, in tiles",
       plan->split.piece_cost_tiles},
      {"split_cost_tiles", "what cutting any sequence costs it, in tiles",
       plan->split.split_cost_tiles},
      {"chunk_tokens", "CPU: tokens packed at a time; otherwise 0", plan->chunk_tokens}};
  return {};
}

Status list_pieces(const Plan& plan, const void* schedule, PieceVisitor visitor) {
  SEESAW_RETURN_IF_ERROR(split::check_schedule_header(plan.split, schedule));
  split::visit_pieces(plan.split, schedule, [&](int32_t worker, const split::Piece& piece) {
    visitor.visit(visitor.context, {worker, piece.sequence, piece.row_group, piece.tile_begin,
                                    piece.tile_end, piece.partial});
  });
  return {};
}

}  // namespace seesaw::attention
