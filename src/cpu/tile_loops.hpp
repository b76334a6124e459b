// How the two products are cut into register tiles: the same for every instruction set. A `Kernel`
// supplies the tiles themselves (compiled for its instruction set) and their sizes.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/math.hpp"
#include "cpu/microkernel.hpp"

namespace seesaw::cpu {

// A register tile of scores: `tokens` x `vectors`.
struct ScoreTile {
  const uint32_t* query;
  const uint32_t* keys;  // of the tile's first token and first depth block
  int64_t key_block_stride;
  float* scores;  // of the tile's first token
  int64_t depth_blocks;
  Accumulators accumulators;
};

// A register tile of the output: `rows` x `vectors` of columns.
struct OutputTile {
  const uint32_t* weights;  // of the tile's first row
  const uint32_t* values;   // of the tile's first column
  int64_t steps;            // token words
  const float* rescale;
  float* output;
  Accumulators accumulators;
  const char* prefetch;   // what to fetch meanwhile, advancing by prefetch_step bytes
  int64_t prefetch_step;  // twice for every step
};

// Fetches two places into the second cache; a step of the output has load slots to spare for both.
[[gnu::always_inline]] inline const char* fetch_ahead(const char* place, int64_t step_bytes) {
  constexpr int kForReading = 0;
  constexpr int kSecondCache = 2;
  __builtin_prefetch(place, kForReading, kSecondCache);
  __builtin_prefetch(place + step_bytes, kForReading, kSecondCache);
  return place + 2 * step_bytes;
}

// The query's panel of a pass over the tokens stays in the first cache together with the keys that
// stream by: half of 48 KB.
inline constexpr int64_t kQueryPanelBytes = 24 * 1024;

template <typename Kernel, int kVectors>
void score_panel(const PackedLayout& layout, const ScoreTask& task, int64_t first_vector) {
  constexpr int kTokens = Kernel::template tokens_for<kVectors>();
  const int64_t lanes = Kernel::lanes();
  const int64_t block_bytes =
      kVectors * lanes * layout.depth_block_words * int64_t{sizeof(uint32_t)};
  const int64_t passes =
      ceil_div(layout.depth_blocks, std::max<int64_t>(kQueryPanelBytes / block_bytes, 1));
  const int64_t pass_blocks = ceil_div(layout.depth_blocks, passes);
  const uint32_t* query = task.query + first_vector * layout.query_vector_stride;
  float* scores = task.scores + first_vector * layout.score_vector_stride;
  for (int64_t block = 0; block < layout.depth_blocks; block += pass_blocks) {
    ScoreTile tile{};
    tile.query = query + block * layout.depth_block_words * lanes;
    tile.depth_blocks = std::min(pass_blocks, layout.depth_blocks - block);
    tile.accumulators = block == 0 ? Accumulators::kStart : Accumulators::kContinue;
    for (int64_t token = 0; token < task.tokens.count; token += kTokens) {
      tile.scores = scores + token * lanes;
      if constexpr (Kernel::kInPlaceTokenWords > 0) {
        const void* in_place = task.tokens.in_place[token / kTileKeys];
        if (in_place != nullptr) {
          tile.keys = static_cast<const uint32_t*>(in_place) +
                      token % kTileKeys * Kernel::kInPlaceTokenWords +
                      block * layout.depth_block_words;
          tile.key_block_stride = layout.depth_block_words;
          Kernel::template score_tile<kTokens, kVectors, Kernel::kInPlaceTokenWords>(layout, tile);
          continue;
        }
      }
      tile.keys =
          task.tokens.keys + block * layout.key_block_stride + token * layout.depth_block_words;
      tile.key_block_stride = layout.key_block_stride;
      Kernel::template score_tile<kTokens, kVectors, Kernel::kDepthBlockWords>(layout, tile);
    }
  }
}

template <typename Kernel>
void for_score_tiles(const PackedLayout& layout, const ScoreTask& task) {
  constexpr int kMax = Kernel::kMaxScoreVectors;
  int64_t vector = 0;
  for (; vector + kMax <= task.row_vectors; vector += kMax) {
    score_panel<Kernel, kMax>(layout, task, vector);
  }
  switch (task.row_vectors - vector) {
    case 3:
      if constexpr (kMax > 3) score_panel<Kernel, 3>(layout, task, vector);
      break;
    case 2:
      if constexpr (kMax > 2) score_panel<Kernel, 2>(layout, task, vector);
      break;
    case 1:
      score_panel<Kernel, 1>(layout, task, vector);
      break;
    default:
      break;
  }
}

// The next chunk's rows in equal shares, one for each of the first `tiles` tiles of a call.
class PrefetchShares {
 public:
  PrefetchShares(const NextRows& next, int64_t tiles) : next_(next), tiles_(tiles) {}

  void assign_next(OutputTile& tile) {
    const int64_t begin = next_.count * index_ / tiles_;
    const int64_t end = next_.count * (index_ + 1) / tiles_;
    ++index_;
    if (begin == end || index_ > tiles_ || tile.steps == 0) {
      tile.prefetch_step = 0;
      return;
    }
    tile.prefetch = static_cast<const char*>(next_.rows[begin / kTileKeys]) +
                    begin % kTileKeys * next_.stride_bytes;
    tile.prefetch_step = ceil_div((end - begin) * next_.stride_bytes, 2 * tile.steps);
  }

 private:
  const NextRows& next_;
  int64_t tiles_;
  int64_t index_ = 0;
};

// Rows of a tile lie in one row vector, so that their weights are neighbours.
template <typename Kernel, int kVectors>
void output_columns(const PackedLayout& layout, const AccumulateTask& task, OutputTile tile,
                    int64_t column, PrefetchShares& shares) {
  const int64_t lanes = Kernel::lanes();
  int64_t row = task.row_begin;
  while (row < task.row_end) {
    const int64_t lane = row % lanes;
    const int64_t rows = std::min({int64_t{Kernel::kOutputRows}, task.row_end - row, lanes - lane});
    tile.weights = task.weights + row / lanes * layout.weight_vector_stride + lane;
    tile.rescale = task.rescale + row;
    tile.output = task.output + row * layout.output_stride + column;
    shares.assign_next(tile);
    switch (rows) {
      case 1:
        Kernel::template output_tile<1, kVectors>(layout, tile);
        break;
      case 2:
        Kernel::template output_tile<2, kVectors>(layout, tile);
        break;
      case 3:
        Kernel::template output_tile<3, kVectors>(layout, tile);
        break;
      default:
        Kernel::template output_tile<4, kVectors>(layout, tile);
        break;
    }
    row += rows;
  }
}

// The same from tokens whose values are not packed: two vectors of columns, up to 8 rows.
template <typename Kernel>
void for_output_tiles_of_rows(const PackedLayout& layout, const AccumulateTask& task,
                              OutputTile tile) {
  constexpr int64_t kRows = 8;
  const int64_t lanes = Kernel::lanes();
  const int64_t column_pairs = ceil_div<int64_t>(layout.value_vectors, 2);
  PrefetchShares shares(task.next,
                        column_pairs * ceil_div<int64_t>(task.row_end - task.row_begin, kRows));
  for (int64_t column = 0; column < layout.value_vectors * lanes; column += 2 * lanes) {
    int64_t row = task.row_begin;
    while (row < task.row_end) {
      const int64_t lane = row % lanes;
      const int64_t rows = std::min({kRows, task.row_end - row, lanes - lane});
      tile.weights = task.weights + row / lanes * layout.weight_vector_stride + lane;
      tile.rescale = task.rescale + row;
      tile.output = task.output + row * layout.output_stride + column;
      shares.assign_next(tile);
      if (rows == 8) {
        Kernel::template output_tile_of_rows<8>(layout, tile, *task.unpacked, column);
        row += 8;
      } else if (rows >= 4) {
        Kernel::template output_tile_of_rows<4>(layout, tile, *task.unpacked, column);
        row += 4;
      } else {
        Kernel::template output_tile_of_rows<1>(layout, tile, *task.unpacked, column);
        row += 1;
      }
    }
  }
}

template <typename Kernel>
void for_output_tiles(const PackedLayout& layout, const AccumulateTask& task, int64_t steps) {
  static_assert(Kernel::kOutputRows == 4, "output_columns dispatches 1 to 4 rows");
  constexpr int kMax = Kernel::kMaxOutputVectors;
  const int64_t lanes = Kernel::lanes();
  OutputTile tile{};
  tile.steps = steps;
  tile.accumulators = task.accumulators;
  tile.prefetch = reinterpret_cast<const char*>(task.weights);  // harmless where nothing is due
  if constexpr (Kernel::kPairsRows) {
    if (task.unpacked != nullptr) {
      return for_output_tiles_of_rows<Kernel>(layout, task, tile);
    }
  }
  PrefetchShares shares(task.next,
                        ceil_div<int64_t>(layout.value_vectors, kMax) *
                            ceil_div<int64_t>(task.row_end - task.row_begin, Kernel::kOutputRows));
  for (int64_t vector = 0; vector < layout.value_vectors;) {
    const int64_t column = vector * lanes;
    tile.values =
        task.values + column / kColumnBlock * layout.value_block_stride + column % kColumnBlock;
    // A tile does not cross a column block: kMax vectors divide it.
    const int64_t vectors = std::min<int64_t>(kMax, layout.value_vectors - vector);
    if (vectors == kMax) {
      output_columns<Kernel, kMax>(layout, task, tile, column, shares);
      vector += kMax;
    } else {
      output_columns<Kernel, 1>(layout, task, tile, column, shares);
      ++vector;
    }
  }
}

}  // namespace seesaw::cpu
