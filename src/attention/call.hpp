// One call of attention: the memory that it reads and writes. Pointers are the device's that
// computes it; strides are elements unless they say bytes.
#pragma once

#include <array>
#include <cstdint>

#include "attention/problem.hpp"

namespace seesaw::attention {

// One stream of cached tokens.
struct Stream {
  const void* cache = nullptr;
  int64_t pages = 0;  // of the cache
  int64_t page_stride_bytes = 0;
  int64_t row_stride_bytes = 0;  // from a token's row to the next
  int64_t head_stride_bytes = 0;
  // kPages: the block table; kIndices: the slots. The innermost stride is 1.
  const int32_t* ids = nullptr;
  int64_t ids_stride_sequence = 0;
  int64_t ids_stride_token = 0;  // kIndices: from an item of a sequence to the next
  // Tokens of each item, at [sequence]; a negative number counts as 0. Null: most_tokens.
  const int32_t* lengths = nullptr;
  int64_t lengths_stride = 0;
  const float* scale = nullptr;  // of the whole cache, where its format has one; null: 1
};

// Rows of [sequence, query token of the sequence, head, :].
struct Rows {
  void* data = nullptr;
  int64_t stride_sequence = 0;
  int64_t stride_token = 0;
  int64_t stride_head = 0;
};

struct Call {
  int64_t items = 0;  // of this call
  Rows q;             // read only
  Rows q_rotary;      // read only: the queries' columns from q_columns() on, if that is not d_qk
  Rows out;
  Rows lse;                              // float32, one number a row; data null: not wanted
  Rows max_logits;                       // the same: the largest score, natural units; -inf if none
  const int32_t* query_begin = nullptr;  // ragged: [items + 1]; then stride_sequence is 0
  std::array<Stream, kMostStreams> streams;
  // [sequence, query token of it, bytes]: bit k % 8 of byte k / 8 is token length - s_q + k of the
  // item. Null: none
  const uint8_t* tree_mask = nullptr;
  int64_t tree_stride_sequence = 0;
  int64_t tree_stride_token = 0;
  // [h_q], natural logarithms: out is multiplied by e^lse / (e^lse + e^sink); lse is left alone.
  // Null: none
  const float* sinks = nullptr;
  float scale = 0.0F;     // of the scores
  float soft_cap = 0.0F;  // scaled scores become soft_cap * tanh(score / soft_cap); 0: they do not
  void* workspace = nullptr;
  const void* schedule = nullptr;
};

}  // namespace seesaw::attention
