// Attention of query rows over streams of cached tokens: what dense and sparse decoding and sparse
// prefill have in common, as they describe it to the cores that compute it (reference/, cpu/,
// sm80/). README.md beside this file has the words.
//
// An *item* is some query rows and the tokens that they attend: a sequence with its s_q query
// tokens (dense), or one query token with a list of its own (sparse). Its tokens are those of the
// first stream, then those of the second one, if there is one; the second begins at a tile of its
// own. Items are what the split-KV schedule cuts (split/split_kv.hpp: its "sequences").
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "core/cache_format.hpp"
#include "core/dtype.hpp"
#include "core/lse.hpp"

namespace seesaw::attention {

// How a stream finds the row of its token number t.
//   kPages    through a block table: page ids[t / page_size], slot t % page_size
//   kIndices  ids[t] is the slot, page * page_size + offset; a slot outside the cache (-1) is no
//             token: it is passed over, and its row is never read
enum class StreamKind : uint8_t { kPages, kIndices };

struct StreamShape {
  StreamKind kind = StreamKind::kPages;
  CacheFormat format;
  int64_t page_size = 1;
  int64_t most_tokens = 0;  // of an item
  // As a call brings them (attention/call.hpp).
  int64_t page_stride_bytes = 0;
  int64_t row_stride_bytes = 0;
  int64_t head_stride_bytes = 0;  // 0 with one KV head
};

inline constexpr size_t kMostStreams = 2;

// Which of an item's tokens a row sees, by the position of its query token: the item's last s_q
// tokens are those of the queries.
struct Masks {
  bool causal = false;  // query token i of s_q sees the first length - s_q + i + 1 tokens
  int64_t window = 0;   // and of them the last `window`; 0: all
  bool tree = false;    // and of the last s_q tokens those that Call::tree_mask names, if brought
};

// The problem as far as planning knows it.
struct Problem {
  int64_t items = 1;               // most of a call
  int64_t items_per_sequence = 1;  // s_q of the operation where each query token is an item
  int64_t s_q = 1;                 // query tokens of an item; if ragged, the most
  int64_t h_q = 1;
  int64_t h_kv = 1;
  int64_t d_qk = 0;
  int64_t d_v = 0;
  int64_t d_rope = 0;               // last columns of the queries, in Call::q_rotary; 0: none
  DType q_type = DType::kBFloat16;  // of the output, too
  std::array<StreamShape, kMostStreams> streams;
  size_t num_streams = 1;
  Masks masks;
  bool ragged = false;    // items have query tokens of their own number: Call::query_begin
  bool soft_cap = false;  // calls may bring Call::soft_cap
  LseBase lse_base = LseBase::kNatural;
  EmptyLse empty_lse = EmptyLse::kNegativeInfinity;

  bool sinks = false;       // calls may bring Call::sinks
  bool max_logits = false;  // calls may ask for Call::max_logits

  // Query rows of one KV head: (query token, head of the group) pairs, packed as token * group +
  // head.
  int64_t group() const { return h_q / h_kv; }
  int64_t rows() const { return s_q * group(); }
  int64_t q_columns() const { return d_qk - d_rope; }  // in Call::q
  int64_t max_tokens() const { return streams[0].most_tokens + streams[1].most_tokens; }
};

// A window leaves an item's last tokens to be attended. Its tiles then begin at its *origin*, a
// multiple of kOriginStep, and the planner counts only what is behind it.
inline constexpr int64_t kOriginStep = 64;

// The most tokens of a stream that the planner counts: of the first, by the window.
constexpr int64_t planned_tokens(const Problem& problem, size_t stream) {
  const int64_t most = problem.streams[stream].most_tokens;
  if (problem.masks.window == 0 || problem.num_streams > 1 || stream > 0) {
    return most;
  }
  return std::min(most, problem.masks.window + problem.s_q - 1 + kOriginStep - 1);
}

// The token with which the first tile of an item of so many tokens begins.
constexpr int64_t origin_of(const Problem& problem, int64_t length) {
  const int64_t planned = planned_tokens(problem, 0) + problem.streams[1].most_tokens;
  return length <= planned ? 0 : (length - planned + kOriginStep - 1) / kOriginStep * kOriginStep;
}

// Tokens [begin, end) of an item.
struct Sight {
  int64_t begin = 0;
  int64_t end = 0;
};

// What query token `token` of an item with `s_q` of them sees of the item's `length` tokens, but
// for the tree mask.
constexpr Sight sight_of(const Masks& masks, int64_t length, int64_t s_q, int64_t token) {
  const int64_t position = length - s_q + token;
  const int64_t end = std::max<int64_t>(masks.causal ? std::min(position + 1, length) : length, 0);
  const int64_t begin = masks.window > 0 ? position + 1 - masks.window : 0;
  return {std::clamp<int64_t>(begin, 0, end), end};
}

// Whether a query token with this row of the tree mask sees token `position` of its item.
constexpr bool tree_allows(const uint8_t* row, int64_t length, int64_t s_q, int64_t position) {
  const int64_t k = position - (length - s_q);
  return k < 0 || (row[k / 8] >> (k % 8) & 1) != 0;
}

}  // namespace seesaw::attention
