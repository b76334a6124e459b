// The microkernel of AMX's tiles, over a type that has them (amx_tiles.hpp). Both products are sums
// of tiles C[16 x 16] += A[16 x 32] B[32 x 16], A and B in bfloat16, the rows of B in pairs:
//
//   scores:  C = [token][row],  A = keys as they lie in the page, B = packed query [word][row][2]
//   outputs: C = [row][column], A = weights [row][token],         B = values [pair][column][2]
//
// Query and values have the layout that the dot products use, in blocks of 16 columns; weights are
// transposed where the softmax has them in registers. Tiles of packed data are 1 KB in one piece.
// Included inside a target region, once a file: everything here is local.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "base/math.hpp"
#include "cpu/amx_tiles.hpp"
#include "cpu/dequantize.hpp"
#include "cpu/lanes.hpp"
#include "cpu/microkernel.hpp"

namespace seesaw::cpu {
namespace {

constexpr int64_t kTileElements = 32;           // of a row of A, and rows of B
constexpr int64_t kTileWords = 16 * kTileRows;  // of a whole tile
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// The tiles of A or B along the axis that is summed over.
struct TileStream {
  const void* first;
  int64_t row_bytes;   // between rows of a tile
  int64_t step_bytes;  // between tiles
};

// Rows to be fetched into the first cache meanwhile, a line of each a step. Only a hint.
struct RowsAhead {
  const void* const* tiles = nullptr;  // first row of every kTileKeys
  int64_t stride_bytes = 0;
  int64_t begin = 0;
  int64_t end = 0;

  [[gnu::always_inline]] inline void fetch(int64_t step) const {
    for (int64_t row = begin; row < end; ++row) {
      const auto* tile = static_cast<const char*>(tiles[row / kTileKeys]);
      if (tile != nullptr) {  // packed rows are near
        __builtin_prefetch(tile + row % kTileKeys * stride_bytes + step * kTileRowBytes);
      }
    }
  }
};

// kA x kB tiles of C, numbered 2 i + j, from tiles 4 + i of A and 6 + j of B: every tile that is
// loaded is multiplied kA or kB times.
template <typename Tiles, int kA, int kB>
struct Block {
  [[gnu::always_inline]] static inline void zero() {
    Tiles::template zero<0>();
    if constexpr (kB > 1) Tiles::template zero<1>();
    if constexpr (kA > 1) Tiles::template zero<2>();
    if constexpr (kA > 1 && kB > 1) Tiles::template zero<3>();
  }

  // c[i][j]: the tile's first row, rows row_bytes apart.
  [[gnu::always_inline]] static inline void load(float* const (&c)[2][2], int64_t row_bytes) {
    Tiles::template load<0>(c[0][0], row_bytes);
    if constexpr (kB > 1) Tiles::template load<1>(c[0][1], row_bytes);
    if constexpr (kA > 1) Tiles::template load<2>(c[1][0], row_bytes);
    if constexpr (kA > 1 && kB > 1) Tiles::template load<3>(c[1][1], row_bytes);
  }
  [[gnu::always_inline]] static inline void store(float* const (&c)[2][2], int64_t row_bytes) {
    Tiles::template store<0>(c[0][0], row_bytes);
    if constexpr (kB > 1) Tiles::template store<1>(c[0][1], row_bytes);
    if constexpr (kA > 1) Tiles::template store<2>(c[1][0], row_bytes);
    if constexpr (kA > 1 && kB > 1) Tiles::template store<3>(c[1][1], row_bytes);
  }

  [[gnu::always_inline]] static inline void multiply(const TileStream (&a)[2],
                                                     const TileStream (&b)[2], int64_t steps,
                                                     const RowsAhead& ahead) {
    for (int64_t step = 0; step < steps; ++step) {
      ahead.fetch(step);
      load_step<4>(a[0], step);
      load_step<6>(b[0], step);
      Tiles::template dot<0, 4, 6>();
      if constexpr (kB > 1) {
        load_step<7>(b[1], step);
        Tiles::template dot<1, 4, 7>();
      }
      if constexpr (kA > 1) {
        load_step<5>(a[1], step);
        Tiles::template dot<2, 5, 6>();
        if constexpr (kB > 1) Tiles::template dot<3, 5, 7>();
      }
    }
  }

 private:
  template <int kTile>
  [[gnu::always_inline]] static inline void load_step(const TileStream& stream, int64_t step) {
    Tiles::template load<kTile>(static_cast<const char*>(stream.first) + step * stream.step_bytes,
                                stream.row_bytes);
  }
};

// Calls kernel(A tiles, B tiles as constants) for 1 or 2 of each.
template <typename Function>
[[gnu::always_inline]] inline void for_block(int64_t a, int64_t b, const Function& function) {
  using One = std::integral_constant<int, 1>;
  using Two = std::integral_constant<int, 2>;
  if (a > 1 && b > 1) {
    function(Two(), Two());
  } else if (a > 1) {
    function(Two(), One());
  } else if (b > 1) {
    function(One(), Two());
  } else {
    function(One(), One());
  }
}

// Packing
// ------------------------------------------------------------------------------------------

// Elements [begin, begin + 32) of a row of `count`, zero past its end; reads nothing there.
[[gnu::always_inline]] inline Words load_elements(const uint16_t* row, int64_t begin,
                                                  int64_t count) {
  if (begin + kTileElements <= count) {
    return load<Words>(row + begin);
  }
  Words elements{};
  if (begin < count) {
    std::memcpy(&elements, row + begin, static_cast<size_t>(count - begin) * sizeof(uint16_t));
  }
  return elements;
}

void pack_query(const PackedLayout& layout, const void* const* rows, DType, uint32_t* query) {
  for (int64_t block = 0; block < layout.depth_blocks; ++block) {
    Words words[16];
    for (int lane = 0; lane < kLanes; ++lane) {
      const auto* row = static_cast<const uint16_t*>(rows[lane]);
      words[lane] =
          row == nullptr ? Words{} : load_elements(row, block * kTileElements, layout.d_qk);
    }
    transpose(words);
    for (int i = 0; i < 16; ++i) {
      store(words[i], query + block * kTileWords + i * kLanes);
    }
  }
}

void pack_keys(const PackedLayout& layout, const TokenRun& run, DType, int64_t begin,
               uint32_t* keys) {
  for (int64_t i = 0; i < run.count; ++i) {
    const auto* row = reinterpret_cast<const uint16_t*>(static_cast<const char*>(run.first) +
                                                        i * run.stride_bytes);
    uint32_t* words = keys + (begin + i) * kLanes;
    for (int64_t block = 0; block < layout.depth_blocks; ++block) {
      store(load_elements(row, block * kTileElements, layout.d_qk),
            words + block * layout.key_block_stride);
    }
  }
}

// A row's tiles end where the row ends, or they would take in what lies behind it.
bool reads_in_place(const PackedLayout& layout, const TokenRun& run) {
  return run.count >= kTileKeys && layout.d_qk % kTileElements == 0;
}

// A tile of A from tokens [tile, tile + kTileKeys).
[[gnu::always_inline]] inline TileStream key_tiles(const PackedLayout& layout,
                                                   const PackedTokens& tokens, int64_t tile) {
  const void* in_place = tokens.in_place[tile / kTileKeys];
  if (in_place != nullptr) {
    return {in_place, tokens.row_bytes, kTileRowBytes};
  }
  return {tokens.keys + tile * kLanes, kTileRowBytes,
          layout.key_block_stride * int64_t{sizeof(uint32_t)}};
}

// Values of tokens [tile, tile + kTileKeys), of which those from tokens.count on are zero.
void pack_value_tile(const PackedLayout& layout, const PackedTokens& tokens, int64_t tile) {
  const int64_t columns = ceil_div<int64_t>(layout.d_v, kLanes);
  // A tile behind the last token has no rows.
  const TileStream keys =
      tile < tokens.count ? key_tiles(layout, tokens, tile) : TileStream{nullptr, 0, 0};
  for (int64_t token = tile; token < tile + kTileKeys; token += 2) {
    uint32_t* values = tokens.values + token / 2 * kLanes;
    const auto* even = static_cast<const char*>(keys.first) + (token - tile) * keys.row_bytes;
    const auto* odd = even + keys.row_bytes;
    for (int64_t column = 0; column < columns; column += 2) {
      Halves pair[2] = {};
      if (token < tokens.count) {
        const auto a = load<Halves>(even);
        const auto b = token + 1 < tokens.count ? load<Halves>(odd) : Halves{};
        pair[0] = interleave_low(a, b);
        pair[1] = interleave_high(a, b);
      }
      store(pair[0], values + column * layout.value_block_stride);
      if (column + 1 < columns) {
        store(pair[1], values + (column + 1) * layout.value_block_stride);
      }
      even += keys.step_bytes;
      odd += keys.step_bytes;
    }
  }
}

void pack_values(const PackedLayout& layout, const PackedTokens& tokens, int64_t begin) {
  for (int64_t tile = begin; tile < round_up(tokens.count, kTileElements); tile += kTileKeys) {
    pack_value_tile(layout, tokens, tile);
  }
}

// Scores
// -------------------------------------------------------------------------------------------

// What the products of tokens [token, token + 32) have time to fetch: the 32 behind them.
RowsAhead rows_behind(const ScoreTask& task, int64_t token) {
  RowsAhead ahead;
  const int64_t begin = token + kTileElements;
  if (begin < task.tokens.count) {
    ahead.tiles = task.tokens.in_place + begin / kTileKeys;
    ahead.stride_bytes = task.tokens.row_bytes;
    ahead.end = std::min(kTileElements, task.tokens.count - begin);
  } else {
    ahead.tiles = task.next.rows;
    ahead.stride_bytes = task.next.stride_bytes;
    ahead.end = std::min(kTileElements, task.next.count);
  }
  return ahead;
}

template <typename Tiles>
void scores(const PackedLayout& layout, const ScoreTask& task) {
  constexpr int64_t kQueryTileBytes = kTileWords * int64_t{sizeof(uint32_t)};
  for (int64_t token = 0; token < task.tokens.count; token += kTileElements) {
    const int64_t token_tiles =
        std::min<int64_t>(ceil_div(task.tokens.count - token, kTileKeys), 2);
    TileStream keys[2] = {};
    for (int64_t i = 0; i < token_tiles; ++i) {
      keys[i] = key_tiles(layout, task.tokens, token + i * kTileKeys);
    }
    const RowsAhead behind = rows_behind(task, token);
    for (int64_t vector = 0; vector < task.row_vectors; vector += 2) {
      RowsAhead share = behind;
      share.begin = behind.end * vector / task.row_vectors;
      share.end = behind.end * std::min(vector + 2, task.row_vectors) / task.row_vectors;
      TileStream query[2] = {};
      float* c[2][2] = {};
      const int64_t vectors = std::min<int64_t>(task.row_vectors - vector, 2);
      for (int64_t v = 0; v < vectors; ++v) {
        query[v] = {task.query + (vector + v) * layout.query_vector_stride, kTileRowBytes,
                    kQueryTileBytes};
        c[0][v] = task.scores + (vector + v) * layout.score_vector_stride + token * kLanes;
        c[1][v] = c[0][v] + kTileKeys * kLanes;
      }
      for_block(token_tiles, vectors, [&](auto kA, auto kB) {
        using Products = Block<Tiles, kA, kB>;
        Products::zero();
        Products::multiply(keys, query, layout.depth_blocks, share);
        Products::store(c, kTileRowBytes);
      });
    }
  }
}

// Softmax
// ------------------------------------------------------------------------------------------

// A row's weights are measured against a frame, a score that it has met, and not against its
// maximum: the frame follows only when the maximum has left it by more than this, in powers of two,
// so that accumulators are seldom rescaled. Weights stay below 2^8, and none of their bits is lost.
constexpr float kFrameSlack = 8.0F;

// A product that stays one: fused with the subtraction of a frame it would not be the number that
// the frame was, and from a frame beyond 2^24 the difference would be as large as the frame's
// rounding.
template <typename Tiles>
[[gnu::always_inline]] inline Floats product(Floats a, float b) {
#if defined(__clang__)
#pragma clang fp contract(off)
  return a * b;
#else
  Floats result = a * b;
  Tiles::keep(&result);
  return result;
#endif
}

// Scores of one token; -inf where a row does not attend it.
template <typename Tiles, bool kAllSeen>
[[gnu::always_inline]] inline Floats scores_of(const SoftmaxTask& task, Signed seen,
                                               int64_t token) {
  const Floats scaled = product<Tiles>(load<Floats>(task.scores + token * kLanes), task.scale_log2);
  if constexpr (kAllSeen) {
    return scaled;
  }
  return seen > static_cast<int32_t>(token) ? scaled : all(-kInfinity);
}

template <typename Tiles, bool kAllSeen>
[[gnu::always_inline]] inline void softmax_of(const SoftmaxTask& task, Signed seen) {
  const int64_t padded = round_up(task.tokens, kTileElements);
  Floats top[4] = {all(-kInfinity), all(-kInfinity), all(-kInfinity), all(-kInfinity)};
  for (int64_t token = 0; token < padded; token += 4) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const Floats score = scores_of<Tiles, kAllSeen>(task, seen, token + i);
      top[i] = score > top[i] ? score : top[i];  // a NaN is met again in its weight
    }
  }
  top[0] = top[1] > top[0] ? top[1] : top[0];
  top[2] = top[3] > top[2] ? top[3] : top[2];
  top[0] = top[2] > top[0] ? top[2] : top[0];

  const Floats old_frame = load<Floats>(task.maximum);
  const Floats frame = top[0] - old_frame > kFrameSlack ? top[0] : old_frame;
  // A row that attended nothing yet has frame -inf; measured against 0 its weights are 0, not NaN.
  const Floats origin = frame == -kInfinity ? Floats{} : frame;
  Floats sum_even{}, sum_odd{};
  for (int64_t tile = 0; tile < padded; tile += kTileElements) {
    Words pairs[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      const Floats even = exp2_of(scores_of<Tiles, kAllSeen>(task, seen, tile + 2 * i) - origin);
      const Floats odd = exp2_of(scores_of<Tiles, kAllSeen>(task, seen, tile + 2 * i + 1) - origin);
      sum_even += even;
      sum_odd += odd;
      pairs[i] = pair_of(even, odd);
    }
    transpose(pairs);
#pragma GCC unroll 16
    for (int row = 0; row < kTileRows; ++row) {
      store(pairs[row], task.weights + tile / kTileElements * kTileWords + row * kLanes);
    }
  }
  const Floats rescale = exp2_of(old_frame - origin);
  store(rescale, task.rescale);
  store(frame, task.maximum);
  store(load<Floats>(task.sum) * rescale + (sum_even + sum_odd), task.sum);
}

template <typename Tiles>
void softmax(const SoftmaxTask& task) {
  if (task.visible == nullptr && task.tokens % kTileElements == 0) {
    return softmax_of<Tiles, true>(task, Signed{});
  }
  const auto tokens = static_cast<int32_t>(task.tokens);
  Signed seen = Signed{} + tokens;
  if (task.visible != nullptr) {
    const auto visible = load<Signed>(task.visible);
    seen = visible < seen ? visible : seen;
  }
  softmax_of<Tiles, false>(task, seen);
}

// Outputs
// ------------------------------------------------------------------------------------------

void rescale_rows(const PackedLayout& layout, const AccumulateTask& task) {
  for (int64_t row = task.row_begin; row < task.row_end; ++row) {
    const float factor = task.rescale[row];
    if (factor == 1.0F) {
      continue;
    }
    float* output = task.output + row * layout.output_stride;
    for (int64_t column = 0; column < layout.value_vectors * kLanes; column += kLanes) {
      store(load<Floats>(output + column) * factor, output + column);
    }
  }
}

TileStream weight_tiles(const PackedLayout& layout, const AccumulateTask& task, int64_t vector) {
  return {task.weights + vector * layout.weight_vector_stride, kTileRowBytes,
          kTileWords * int64_t{sizeof(uint32_t)}};
}

// Some rows of a vector: the others' accumulators belong to other values, or to nobody. The product
// is made beside them, and the rows [begin, end) of it are added.
template <typename Tiles>
void accumulate_some_rows(const PackedLayout& layout, const AccumulateTask& task, int64_t vector,
                          const TileStream (&values)[2], int64_t column) {
  alignas(64) float product[kTileWords];
  float* const c[2][2] = {{product, nullptr}, {nullptr, nullptr}};
  const TileStream weights[2] = {weight_tiles(layout, task, vector), {}};
  using Products = Block<Tiles, 1, 1>;
  Products::zero();
  Products::multiply(weights, values, ceil_div(task.tokens, kTileElements), {});
  Products::store(c, kTileRowBytes);
  const int64_t first = vector * kLanes;
  for (int64_t row = std::max(task.row_begin, first); row < std::min(task.row_end, first + kLanes);
       ++row) {
    float* output = task.output + row * layout.output_stride + column;
    const auto added = load<Floats>(product + (row - first) * kLanes);
    store(task.accumulators == Accumulators::kStart ? added : load<Floats>(output) + added, output);
  }
}

template <typename Tiles>
void accumulate_columns(const PackedLayout& layout, const AccumulateTask& task, int64_t column,
                        int64_t columns) {
  TileStream values[2] = {};
  for (int64_t i = 0; i < columns; ++i) {
    values[i] = {task.values + (column / kLanes + i) * layout.value_block_stride, kTileRowBytes,
                 kTileWords * int64_t{sizeof(uint32_t)}};
  }
  const int64_t output_bytes = layout.output_stride * int64_t{sizeof(float)};
  const int64_t whole_begin = ceil_div<int64_t>(task.row_begin, kLanes);
  const int64_t whole_end = task.row_end / kLanes;
  int64_t vector = task.row_begin / kLanes;
  while (vector * kLanes < task.row_end) {
    if (vector < whole_begin || vector >= whole_end) {
      for (int64_t i = 0; i < columns; ++i) {
        const TileStream one[2] = {values[i], {}};
        accumulate_some_rows<Tiles>(layout, task, vector, one, column + i * kLanes);
      }
      ++vector;
      continue;
    }
    const int64_t vectors = std::min<int64_t>(whole_end - vector, 2);
    TileStream weights[2] = {};
    float* c[2][2] = {};
    for (int64_t v = 0; v < vectors; ++v) {
      weights[v] = weight_tiles(layout, task, vector + v);
      c[v][0] = task.output + (vector + v) * kLanes * layout.output_stride + column;
      c[v][1] = c[v][0] + kLanes;
    }
    for_block(vectors, columns, [&](auto kA, auto kB) {
      using Products = Block<Tiles, kA, kB>;
      if (task.accumulators == Accumulators::kStart) {
        Products::zero();
      } else {
        Products::load(c, output_bytes);
      }
      Products::multiply(weights, values, ceil_div(task.tokens, kTileElements), {});
      Products::store(c, output_bytes);
    });
    vector += vectors;
  }
}

template <typename Tiles>
void accumulate(const PackedLayout& layout, const AccumulateTask& task) {
  if (task.accumulators == Accumulators::kContinue) {
    rescale_rows(layout, task);
  }
  for (int64_t vector = 0; vector < layout.value_vectors; vector += 2) {
    accumulate_columns<Tiles>(layout, task, vector * kLanes,
                              std::min<int64_t>(layout.value_vectors - vector, 2));
  }
}

template <typename Tiles>
Microkernel tile_microkernel(const char* name, const Microkernel& of_floats,
                             const RecordPackers& packers) {
  Microkernel kernel = of_floats;  // rows of floats are handled alike for every way of multiplying
  kernel.name = name;
  kernel.lanes = kLanes;
  kernel.elements_per_word = 2;
  kernel.values_are_keys = false;
  kernel.depth_block = kTileElements;
  kernel.column_block = kLanes;
  kernel.value_tokens = kTileElements;
  kernel.unpacked_rows = 0;
  kernel.values_follow_scores = true;
  // Rows of 512 floats would share two sets of the first cache.
  kernel.output_padding = kLanes;
  // Accumulators go to the second cache and back once a chunk: 256 tokens, with their values,
  // weights and scores, fill one of 1 MB. The first is as long: the scores fetch ahead themselves.
  kernel.chunk = {.first = 256, .few_rows = 256, .many_rows = 256};
  kernel.enter = Tiles::enter;
  kernel.leave = Tiles::leave;
  kernel.pack_query = pack_query;
  kernel.pack_keys = pack_keys;
  kernel.pack_records = packers.as_bf16;
  kernel.reads_in_place = reads_in_place;
  kernel.pack_values = pack_values;
  kernel.scores = scores<Tiles>;
  kernel.softmax = softmax<Tiles>;
  kernel.accumulate = accumulate<Tiles>;
  return kernel;
}

}  // namespace
}  // namespace seesaw::cpu
