#include "split/check_schedule.hpp"

#include <climits>
#include <string_view>

#include "base/message.hpp"
#include "split/split_kv_walk.hpp"

namespace seesaw::split {
namespace {

Status bad(std::string_view arrived, std::string_view allowed, std::string_view remedy) {
  return invalid_argument(four_part_message("schedule", arrived, allowed, remedy));
}

bool same_piece(const Piece& a, const Piece& b) {
  return a.sequence == b.sequence && a.row_group == b.row_group && a.tile_begin == b.tile_begin &&
         a.tile_end == b.tile_end && a.partial == b.partial && a.sequence_tiles == b.sequence_tiles;
}

// Compares a schedule with the pieces that it should hold, in order.
class Comparison {
 public:
  Comparison(const SplitConfig& config, const ScheduleView& view)
      : config_(config), view_(view), same_(view.item_piece_begin[0] == 0) {}

  bool piece(int64_t index, const PlacedPiece& placed) {
    sequence_ = placed.piece.sequence;
    same_ = same_ && same_piece(view_.pieces[index], placed.piece);
    workers_begin_at(placed.worker, index);
    return same_;
  }

  bool end_item(int32_t item, int64_t pieces) {
    same_ = same_ && view_.item_piece_begin[item + 1] == pieces;
    return same_;
  }

  bool end(int64_t num_pieces) {
    workers_begin_at(config_.num_workers, num_pieces);
    const int32_t rest_begin = view_.worker_pieces[config_.num_workers].begin;
    const uint32_t tag = schedule_tag(config_, view_.header->batch);
    for (int32_t w = 0; w <= config_.num_workers; ++w) {
      const WorkerPieces& pieces = view_.worker_pieces[w];
      const int32_t end = w < config_.num_workers ? view_.worker_pieces[w + 1].begin : rest_begin;
      same_ = same_ && pieces.end == end && pieces.tag == tag &&
              pieces.rest == rest_piece_of(w, rest_begin, num_pieces);
    }
    return same_ && view_.header->num_pieces == num_pieces;
  }

  int32_t sequence() const { return sequence_; }  // the one looked at last

 private:
  // Workers up to `last` that have no piece yet begin at `index`.
  void workers_begin_at(int64_t last, int64_t index) {
    while (next_worker_ <= last) {
      same_ = view_.worker_pieces[next_worker_++].begin == index && same_;
    }
  }

  const SplitConfig& config_;
  const ScheduleView& view_;
  bool same_;
  int64_t next_worker_ = 0;
  int32_t sequence_ = 0;
};

}  // namespace

Status check_config(const SplitConfig& config) {
  const int64_t pieces = max_pieces(config);
  if (pieces <= INT32_MAX) {
    return {};
  }
  return bad(fmt::format("batch = {} with {} row groups and up to {} tiles a sequence can need {} "
                         "pieces",
                         config.max_batch, config.row_groups, config.max_sequence_tiles, pieces),
             fmt::format("up to {} pieces", INT32_MAX),
             "Plan for a smaller batch, fewer query tokens or fewer pages per sequence.");
}

Status check_schedule_header(const SplitConfig& config, const void* buffer) {
  const ScheduleHeader& header = *static_cast<const ScheduleHeader*>(buffer);
  if (header.magic != kScheduleMagic) {
    return bad(fmt::format("schedule begins with {:#010x}", header.magic),
               fmt::format("a buffer filled by seesaw_plan_prepare ({:#010x})", kScheduleMagic),
               "Call it before seesaw_plan_run.");
  }
  if (!made_by(config, header)) {
    return bad(
        fmt::format("schedule of another plan (batch {}, {} row groups, {} workers, tiles "
                    "of {} tokens, fixed splits of {} tiles)",
                    header.max_batch, header.row_groups, header.num_workers, header.tile_tokens,
                    header.fixed_split_tiles),
        fmt::format("this plan's (batch {}, {}, {}, {}, {})", config.max_batch, config.row_groups,
                    config.num_workers, config.tile_tokens, config.fixed_split_tiles),
        "Fill it with the plan that runs it.");
  }
  if (!counts_fit(config, header)) {
    return bad(
        fmt::format("schedule of {} sequences in {} pieces", header.batch, header.num_pieces),
        fmt::format("up to {} in {}", config.max_batch, max_pieces(config)),
        "Its memory was overwritten: fill it again.");
  }
  return {};
}

Status check_schedule(const SplitConfig& config, const Lengths& lengths, int32_t batch,
                      const void* buffer) {
  SEESAW_RETURN_IF_ERROR(check_schedule_header(config, buffer));
  // Read only; the view's pointers are mutable because the builder shares it.
  const ScheduleView view = schedule_view(const_cast<void*>(buffer), config);
  if (view.header->batch != batch) {
    return bad(fmt::format("schedule of {} sequences", view.header->batch),
               fmt::format("the {} of this call", batch),
               "Call seesaw_plan_prepare with this call's seq_lens.");
  }
  Comparison comparison(config, view);
  const int64_t num_pieces = walk_pieces(
      {config, lengths, batch},
      [&](int64_t index, const PlacedPiece& placed) { return comparison.piece(index, placed); },
      [&](int32_t item, int64_t pieces) { return comparison.end_item(item, pieces); });
  if (comparison.end(num_pieces)) {
    return {};
  }
  return bad(fmt::format("schedule made for other lengths (it differs at sequence {})",
                         comparison.sequence()),
             "a schedule of exactly these seq_lens",
             "Call seesaw_plan_prepare again whenever seq_lens change.");
}

}  // namespace seesaw::split
