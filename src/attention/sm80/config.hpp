// Numbers of the sm80 attention kernel and the parameters of one launch. README.md has the steps.
#pragma once

#include <cuda_bf16.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "attention/problem.hpp"
#include "base/host_device.hpp"
#include "gpu/divisor.hpp"
#include "gpu/faults.hpp"
#include "gpu/partials.hpp"
#include "split/split_kv.hpp"

namespace seesaw::attention::sm80 {

inline constexpr int kTileTokens = 32;  // KV tokens of a tile
inline constexpr int kWarpRows = 16;    // query rows of a warp: M of mma.m16n8k16
inline constexpr int kColumnWarps = 4;  // warps that share the rows: each a quarter of the tokens
                                        // of a tile, then of the columns of the values
inline constexpr int kWarpTokens = kTileTokens / kColumnWarps;
inline constexpr int kNarrowColumns = 256;  // columns of the values that an instance has
inline constexpr int kWideColumns = 512;
inline constexpr int kRotaryColumns = 64;  // most columns behind the values
inline constexpr int kMostStages = 8;
inline constexpr int kValidTiles = 16;  // tiles whose valid tokens are remembered
static_assert(kValidTiles >= 2 * kMostStages);

inline constexpr int kChunkBytes = 16;  // of a row: what cp.async copies and ldmatrix reads
inline constexpr int kChunkColumns = 8;
inline constexpr int kRowLanes = 8;     // threads that copy a row
inline constexpr int kRunColumns = 32;  // e4m3 that a thread converts at a time, by one scale

inline constexpr uint16_t kNaNBits = 0x7FFF;  // NaN of bf16 and of fp16

// A variant of the kernel: element type, columns of the values in registers, warps of 16 rows, and
// whether records of the cache are converted to the element type.
template <typename ElementType, int kValueColumnsValue, int kRowWarpsValue, bool kConvertsValue>
struct Config {
  using Element = ElementType;
  static constexpr bool kIsBFloat16 = std::is_same_v<Element, __nv_bfloat16>;
  static constexpr int kValueColumns = kValueColumnsValue;
  static constexpr int kRowWarps = kRowWarpsValue;
  static constexpr bool kConverts = kConvertsValue;
  static constexpr int kTileRows = kRowWarps * kWarpRows;
  static constexpr int kThreads = kRowWarps * kColumnWarps * 32;
  static constexpr int kColumns = kValueColumns + kRotaryColumns;  // of a row in shared memory
  static constexpr int kRowBytes = 2 * kColumns;
  static constexpr int kTileBytes = kTileTokens * kRowBytes;
  static constexpr int kValueSteps = kValueColumns / 16;  // of k16, whose queries are in registers
  static constexpr int kWarpColumns = kValueColumns / kColumnWarps;
  static constexpr int kBlocks = kWarpColumns / 8;                      // of n8, of a warp's output
  static constexpr int kLoadRows = kTileTokens * kRowLanes / kThreads;  // that a thread copies
  static_assert(kRowBytes % 128 == 0 && kLoadRows >= 1);
};

// Where things lie in shared memory. Chosen on the host by what the device has.
//   tiles  [num_tiles][32 tokens][kRowBytes], chunks of 128 bytes swizzled by the token
//   raw    [num_raw][32 tokens][raw_pitch]: records as they are cached, where they are converted
//   the rest (SharedRest)
struct SharedLayout {
  int32_t num_tiles = 0;  // stages of the ring; of converted caches 2, or 1
  int32_t num_raw = 0;    // stages of the ring of converted caches; 0: nothing is converted
  int32_t raw_pitch = 0;
  int32_t raw_offset = 0;
  int32_t rest_offset = 0;
  int32_t bytes = 0;
  // Whether the scores of a tile are computed beside the values of the one before it, which keeps
  // both in shared memory.
  int32_t ahead = 0;

  // Tiles, or records of them, that are copied before the first is used.
  SEESAW_HOST_DEVICE constexpr int32_t first_copies() const {
    return num_raw > 0 ? num_raw : ahead != 0 ? num_tiles - 1 : num_tiles;
  }
  // Of which so many may be under way when the next tile is needed.
  SEESAW_HOST_DEVICE constexpr int32_t pending() const { return first_copies() - 1; }
};

// Where a raw record keeps its tail: behind the row, from a whole chunk on.
SEESAW_HOST_DEVICE constexpr int32_t raw_tail_offset(int32_t row_bytes) {
  return (row_bytes + kChunkBytes - 1) / kChunkBytes * kChunkBytes;
}

// One stream of tokens. Strides are bytes.
struct StreamParams {
  const std::byte* cache;
  int64_t page_stride, row_stride, head_stride;
  const int32_t* ids;  // block table or slots
  int64_t ids_stride_sequence, ids_stride_token;
  const int32_t* lengths;  // [sequence], or null: `most`
  int64_t lengths_stride;
  uint32_t slots;  // of the cache, for kIndices
  int32_t most;    // tokens of an item
  gpu::Divisor page_size;
  bool indices;
  int32_t copy_bytes;  // of a row
  int32_t unit;        // bytes that addresses and sizes are multiples of: 16, 4 or 1
  int32_t tail_unit;   // the same of its tails
  // The format, where rows are converted.
  Segment latent, rotary, scales;
  int64_t tails;       // from a page's first row to its tails
  int32_t tail_bytes;  // 0: scales are in the row
  int32_t scaled_columns;
  gpu::Divisor scale_group;  // column c has scale c / scale_group
  const float* scale;        // of the whole stream, or null: 1
  bool runs;          // the latent columns are runs of kRunColumns e4m3, each under one scale
  bool rotary_as_is;  // the rotary ones, if any, are the queries' own, under none
};

// One launch. Strides are elements unless they say bytes. Pointers are device memory.
struct Params {
  StreamParams streams[kMostStreams];
  int32_t num_streams;
  SharedLayout shared;

  const void* q;
  int64_t q_stride_sequence, q_stride_token, q_stride_head;
  void* out;
  int64_t out_stride_sequence, out_stride_token, out_stride_head;
  float* lse;  // or null
  int64_t lse_stride_sequence, lse_stride_token, lse_stride_head;
  float* max_logits;  // or null
  int64_t max_logits_stride_sequence, max_logits_stride_token, max_logits_stride_head;
  const int32_t* query_begin;  // ragged: [items + 1], or null
  const uint8_t* tree_mask;    // or null
  int64_t tree_stride_sequence, tree_stride_token;
  const float* sinks;  // [h_q], or null

  const split::WorkerPieces* worker_pieces;  // see split/split_kv.hpp
  const split::Piece* pieces;
  uint32_t schedule_tag;  // of the plan and the items
  int32_t items;
  gpu::Fault* fault;
  uint4* partial_out;  // see gpu/partials.hpp
  gpu::PartialStat* partial_stat;
  gpu::PartialLayout partials;

  float scale_log2;   // > 0: scale * log2 e = scale_log2 * q_factor
  float q_factor;     // what Q is multiplied by when loaded: a signed power of two, or 0
  float cap_log2;     // soft cap of scaled scores, times log2 e; 0: none
  float inverse_cap;  // of the scores as they come from the product: scale / cap
  float lse_factor;   // ln 2, or 1 for base 2
  float empty_lse;    // of a row with nothing to attend
  bool q_plain;       // q_factor is 1, rows of q start on 4 bytes and have kValueColumns
  bool out_aligned;   // every 8 columns of out start on 16 bytes, and d_v is a multiple of 8
  bool causal;
  int32_t window;          // 0: none
  int32_t planned_tokens;  // of the first stream, most that the planner counts
  int32_t d_qk, d_v;
  int32_t s_q;                      // query tokens of an item, or the most
  gpu::Divisor group;               // query heads of a KV head
  gpu::Divisor items_per_sequence;  // items that share a sequence's rows of q, block table, length
  int32_t group_tiles;              // of a row group: thread blocks that walk the same tiles
  int32_t h_kv;
};

}  // namespace seesaw::attention::sm80
