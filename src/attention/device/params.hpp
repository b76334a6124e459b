// The parameters of one launch of an attention kernel on a GPU: a call as device code reads it.
#pragma once

#include <vector_types.h>

#include <cstddef>
#include <cstdint>

#include "attention/problem.hpp"
#include "gpu/divisor.hpp"
#include "gpu/faults.hpp"
#include "gpu/partials.hpp"
#include "split/split_kv.hpp"

namespace seesaw::attention::device {

inline constexpr int kRunColumns = 32;  // e4m3 that a thread converts at a time, by one scale

// A variant of the kernel: element type, columns of the values in registers, warps of 16 rows, and
// whether records of the cache are converted to the element type.
inline constexpr uint16_t kNaNBits = 0x7FFF;  // NaN of bf16 and of fp16

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

// One launch of a kernel of this folder's users. Strides are elements unless they say bytes.
// Pointers are device memory.
struct Params {
  StreamParams streams[kMostStreams];
  int32_t num_streams;

  const void* q;  // q_columns of a query; q_rotary has the others, if that is not d_qk
  int64_t q_stride_sequence, q_stride_token, q_stride_head;
  const void* q_rotary;
  int64_t q_rotary_stride_sequence, q_rotary_stride_token, q_rotary_stride_head;
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
  int32_t q_unit;     // bytes that addresses of the queries' rows are multiples of: 16, 4 or 1
  bool out_aligned;   // every 8 columns of out start on 16 bytes, and d_v is a multiple of 8
  bool causal;
  int32_t window;          // 0: none
  int32_t planned_tokens;  // of the first stream, most that the planner counts
  int32_t d_qk, d_v, q_columns;
  int32_t s_q;                      // query tokens of an item, or the most
  gpu::Divisor group;               // query heads of a KV head
  gpu::Divisor items_per_sequence;  // items that share a sequence's rows of q, block table, length
  int32_t group_tiles;              // of a row group: thread blocks that walk the same tiles
  int32_t h_kv;
};

}  // namespace seesaw::attention::device
