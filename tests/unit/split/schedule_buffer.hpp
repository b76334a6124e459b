// A schedule in memory of its own, as the planner's tests look at it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "split/split_kv.hpp"
#include "support/guarded_buffer.hpp"

namespace seesaw::split {

class ScheduleBuffer {
 public:
  explicit ScheduleBuffer(const SplitConfig& config)
      : config_(config), buffer_(schedule_bytes(config)) {}

  void build(const std::vector<int32_t>& seq_lens) {
    build_schedule(config_, lengths_of(seq_lens.data(), 1, INT32_MAX),
                   static_cast<int32_t>(seq_lens.size()), data());
  }

  void* data() { return buffer_.data(); }
  const SplitConfig& config() const { return config_; }
  ScheduleView view() { return schedule_view(data(), config_); }
  bool intact() const { return buffer_.intact(); }

  // An item is a row group of a sequence; of one row group, a sequence.
  std::vector<Piece> pieces_of_item(int32_t item) {
    const ScheduleView v = view();
    return {v.pieces + v.item_piece_begin[item], v.pieces + v.item_piece_begin[item + 1]};
  }

  std::vector<Piece> pieces_of_worker(int32_t worker) {
    const ScheduleView v = view();
    std::vector<Piece> pieces = {v.pieces + v.worker_pieces[worker].begin,
                                 v.pieces + v.worker_pieces[worker + 1].begin};
    const int32_t rest = v.worker_pieces[worker].rest;
    if (rest >= 0) pieces.push_back(v.pieces[rest]);
    return pieces;
  }

  // Tiles and piece costs of the busiest worker.
  int64_t busiest_load() {
    int64_t busiest = 0;
    for (int32_t w = 0; w < config_.num_workers; ++w) {
      int64_t load = 0;
      for (const Piece& piece : pieces_of_worker(w)) {
        load += int64_t{piece.tile_end} - piece.tile_begin + std::max(config_.piece_cost_tiles, 1);
      }
      busiest = std::max(busiest, load);
    }
    return busiest;
  }

 private:
  SplitConfig config_;
  testing::GuardedBuffer buffer_;
};

// A configuration that fits the lengths.
inline SplitConfig config_for(const std::vector<int32_t>& seq_lens, int32_t num_workers,
                              int32_t tile_tokens = 64, int32_t piece_cost_tiles = 1) {
  SplitConfig config;
  config.max_batch = static_cast<int32_t>(seq_lens.size());
  config.num_workers = num_workers;
  config.tile_tokens = tile_tokens;
  config.piece_cost_tiles = piece_cost_tiles;
  for (const int32_t length : seq_lens) {
    config.max_sequence_tiles = std::max(config.max_sequence_tiles, tiles_of(length, tile_tokens));
  }
  return config;
}

}  // namespace seesaw::split
