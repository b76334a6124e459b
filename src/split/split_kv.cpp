#include "split/split_kv.hpp"

#include "split/split_kv_walk.hpp"

namespace seesaw::split {
namespace {

ScheduleHeader header_for(const SplitConfig& config, int32_t batch, int64_t num_pieces) {
  ScheduleHeader header{};
  header.magic = kScheduleMagic;
  header.batch = batch;
  header.num_pieces = static_cast<int32_t>(num_pieces);
  header.num_workers = config.num_workers;
  header.tile_tokens = config.tile_tokens;
  header.fixed_split_tiles = config.fixed_split_tiles;
  header.max_batch = config.max_batch;
  header.row_groups = config.row_groups;
  return header;
}

}  // namespace

void build_schedule(const SplitConfig& config, const Lengths& lengths, int32_t batch,
                    void* buffer) {
  const ScheduleView view = schedule_view(buffer, config);
  int32_t next_worker = 0;  // workers before it have their first piece
  view.item_piece_begin[0] = 0;
  const int64_t num_pieces = walk_pieces(
      {config, lengths, batch},
      [&](int64_t index, const PlacedPiece& placed) {
        view.pieces[index] = placed.piece;
        while (next_worker <= placed.worker) {
          view.worker_pieces[next_worker++].begin = static_cast<int32_t>(index);
        }
        return true;
      },
      [&](int32_t item, int64_t pieces) {
        view.item_piece_begin[item + 1] = static_cast<int32_t>(pieces);
        return true;
      });
  while (next_worker <= config.num_workers) {
    view.worker_pieces[next_worker++].begin = static_cast<int32_t>(num_pieces);
  }
  const int32_t rest_begin = view.worker_pieces[config.num_workers].begin;
  const uint32_t tag = schedule_tag(config, batch);
  for (int32_t w = 0; w <= config.num_workers; ++w) {
    WorkerPieces& pieces = view.worker_pieces[w];
    pieces.end = w < config.num_workers ? view.worker_pieces[w + 1].begin : rest_begin;
    pieces.rest = rest_piece_of(w, rest_begin, num_pieces);
    pieces.tag = tag;
  }
  *view.header = header_for(config, batch, num_pieces);
}

}  // namespace seesaw::split
