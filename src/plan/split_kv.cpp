#include "plan/split_kv.hpp"

#include <fmt/format.h>

#include "plan/check_schedule.hpp"
#include "plan/split_kv_math.hpp"

namespace seesaw::plan {
namespace {

// The lengths of a batch, as tiles.
struct Batch {
  const SplitConfig& config;
  const int32_t* seq_lens;
  int64_t stride;
  int32_t size;

  int64_t tiles(int32_t sequence) const {
    return tiles_of(seq_lens[sequence * stride], config.tile_tokens);
  }

  int64_t total_tiles() const {
    int64_t sum = 0;
    for (int32_t i = 0; i < size; ++i) {
      sum += tiles(i);
    }
    return sum;
  }

  int64_t total_pieces(int64_t piece_tiles) const {
    int64_t sum = 0;
    for (int32_t i = 0; i < size; ++i) {
      sum += pieces_of(tiles(i), piece_tiles);
    }
    return sum;
  }
};

SplitRule find_rule(const Batch& batch) {
  const int64_t tiles = batch.total_tiles();
  if (batch.config.fixed_split_tiles > 0) {
    return fixed_rule(batch.config, tiles, batch.total_pieces(batch.config.fixed_split_tiles));
  }
  const SplitRule ranges = range_rule(batch.config, batch.size, tiles);
  const AlignedLengths lengths = aligned_lengths(ranges, batch.size, tiles);
  for (int64_t length = lengths.first; length <= lengths.last; ++length) {
    if (batch.total_pieces(length) <= batch.config.num_workers) {
      return aligned_rule(ranges, length);
    }
  }
  return ranges;
}

// Calls visit(index, placed) for every piece in order, and end_sequence(i, pieces so far) after
// each sequence's; either stops the walk by returning false. Returns the number of pieces.
template <typename Visit, typename EndSequence>
int64_t walk_pieces(const Batch& batch, Visit visit, EndSequence end_sequence) {
  const SplitRule rule = find_rule(batch);
  SequenceSpan span{};
  for (int32_t i = 0; i < batch.size; ++i) {
    span.sequence = i;
    span.tiles = batch.tiles(i);
    const int32_t count = piece_count(rule, span);
    for (int32_t k = 0; k < count; ++k) {
      if (!visit(span.pieces_before + k, place_piece(rule, span, count, k))) {
        return span.pieces_before;
      }
    }
    span.tiles_before += span.tiles;
    span.pieces_before += count;
    if (!end_sequence(i, span.pieces_before)) {
      return span.pieces_before;
    }
  }
  return span.pieces_before;
}

ScheduleHeader header_for(const SplitConfig& config, int32_t batch, int64_t num_pieces) {
  ScheduleHeader header{};
  header.magic = kScheduleMagic;
  header.batch = batch;
  header.num_pieces = static_cast<int32_t>(num_pieces);
  header.num_workers = config.num_workers;
  header.tile_tokens = config.tile_tokens;
  header.fixed_split_tiles = config.fixed_split_tiles;
  header.max_batch = config.max_batch;
  return header;
}

bool same_piece(const Piece& a, const Piece& b) {
  return a.sequence == b.sequence && a.tile_begin == b.tile_begin && a.tile_end == b.tile_end &&
         a.partial == b.partial;
}

Status stale(int32_t sequence, int64_t tiles) {
  return invalid_argument(fmt::format(
      "dense_decode: the schedule was made for other lengths: sequence {} now has {} tiles and the "
      "schedule's pieces of it differ, supported: a schedule of exactly these seq_lens. Call "
      "seesaw_dense_decode_schedule again whenever seq_lens change.",
      sequence, tiles));
}

}  // namespace

void build_schedule(const SplitConfig& config, const int32_t* seq_lens, int64_t seq_len_stride,
                    int32_t batch, void* buffer) {
  const ScheduleView view = schedule_view(buffer, config);
  int32_t next_worker = 0;  // workers before it have their first piece
  view.sequence_piece_begin[0] = 0;
  const int64_t num_pieces = walk_pieces(
      {config, seq_lens, seq_len_stride, batch},
      [&](int64_t index, const PlacedPiece& placed) {
        view.pieces[index] = placed.piece;
        while (next_worker <= placed.worker) {
          view.worker_piece_begin[next_worker++] = static_cast<int32_t>(index);
        }
        return true;
      },
      [&](int32_t sequence, int64_t pieces) {
        view.sequence_piece_begin[sequence + 1] = static_cast<int32_t>(pieces);
        return true;
      });
  while (next_worker <= config.num_workers) {
    view.worker_piece_begin[next_worker++] = static_cast<int32_t>(num_pieces);
  }
  *view.header = header_for(config, batch, num_pieces);
}

Status check_schedule_header(const SplitConfig& config, const void* buffer) {
  const ScheduleHeader& header = *static_cast<const ScheduleHeader*>(buffer);
  if (header.magic != kScheduleMagic) {
    return invalid_argument(fmt::format(
        "dense_decode: schedule begins with {:#010x}, supported: a buffer filled by "
        "seesaw_dense_decode_schedule ({:#010x}). Call it before seesaw_dense_decode_run.",
        header.magic, kScheduleMagic));
  }
  if (header.num_workers != config.num_workers || header.tile_tokens != config.tile_tokens ||
      header.fixed_split_tiles != config.fixed_split_tiles ||
      header.max_batch != config.max_batch) {
    return invalid_argument(fmt::format(
        "dense_decode: schedule is of another plan (batch {}, {} workers, tiles of {} tokens, "
        "fixed splits of {} tiles), supported: this plan's (batch {}, {}, {}, {}). Fill it with "
        "the plan that runs it.",
        header.max_batch, header.num_workers, header.tile_tokens, header.fixed_split_tiles,
        config.max_batch, config.num_workers, config.tile_tokens, config.fixed_split_tiles));
  }
  if (header.batch < 0 || header.batch > config.max_batch || header.num_pieces < 0 ||
      header.num_pieces > max_pieces(config)) {
    return invalid_argument(fmt::format(
        "dense_decode: schedule holds {} sequences in {} pieces, supported: up to {} in {}. Its "
        "memory was overwritten: fill it again.",
        header.batch, header.num_pieces, config.max_batch, max_pieces(config)));
  }
  return {};
}

Status check_schedule(const SplitConfig& config, const int32_t* seq_lens, int64_t seq_len_stride,
                      int32_t batch, const void* buffer) {
  // Read only; the view's pointers are mutable because the builder shares it.
  const ScheduleView view = schedule_view(const_cast<void*>(buffer), config);
  SEESAW_RETURN_IF_ERROR(check_schedule_header(config, buffer));
  if (view.header->batch != batch) {
    return invalid_argument(
        fmt::format("dense_decode: schedule holds {} sequences, supported: the {} of this call. "
                    "Call seesaw_dense_decode_schedule with this call's seq_lens.",
                    view.header->batch, batch));
  }
  const Batch lengths{config, seq_lens, seq_len_stride, batch};
  int32_t next_worker = 0;
  int32_t wrong_sequence = view.sequence_piece_begin[0] == 0 ? -1 : 0;
  const int64_t num_pieces = walk_pieces(
      lengths,
      [&](int64_t index, const PlacedPiece& placed) {
        bool same = same_piece(view.pieces[index], placed.piece);
        while (next_worker <= placed.worker) {
          same = view.worker_piece_begin[next_worker++] == index && same;
        }
        if (!same) {
          wrong_sequence = placed.piece.sequence;
        }
        return wrong_sequence < 0;
      },
      [&](int32_t sequence, int64_t pieces) {
        if (view.sequence_piece_begin[sequence + 1] != pieces) {
          wrong_sequence = sequence;
        }
        return wrong_sequence < 0;
      });
  while (wrong_sequence < 0 && next_worker <= config.num_workers) {
    if (view.worker_piece_begin[next_worker++] != num_pieces) {
      wrong_sequence = batch > 0 ? batch - 1 : 0;
    }
  }
  if (wrong_sequence < 0 && view.header->num_pieces != num_pieces) {
    wrong_sequence = batch > 0 ? batch - 1 : 0;
  }
  if (wrong_sequence < 0) {
    return {};
  }
  return stale(wrong_sequence, wrong_sequence < batch ? lengths.tiles(wrong_sequence) : 0);
}

}  // namespace seesaw::plan
