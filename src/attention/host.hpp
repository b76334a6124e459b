// What the cores on host memory share: where things of a call lie, and the host planner's schedule.
#pragma once

#include <algorithm>
#include <cstdint>

#include "attention/call.hpp"
#include "attention/plan.hpp"
#include "split/lengths.hpp"

namespace seesaw::attention {

// The lengths of a call, in whichever memory they are, as the planner takes them.
split::Lengths planned_lengths(const Problem& problem, const Call& call);

// Writes the schedule of the call's lengths, which must be within the plan's maxima.
Status prepare_on_host(const Plan& plan, const Call& call, void* schedule);

// Whether the call's schedule is the one for its lengths.
Status check_on_host(const Plan& plan, const Call& call);

// What every number of a stream in host memory is multiplied by.
inline float scale_of(const Stream& stream) {
  return stream.scale == nullptr ? 1.0F : *stream.scale;
}

// Which of a sequence's query tokens a query token of an item is.
struct QueryPlace {
  int64_t sequence;
  int64_t token;
};
inline QueryPlace query_place(const Problem& problem, const Call& call, int64_t item,
                              int64_t token) {
  if (problem.ragged) {
    return {0, call.query_begin[item] + token};
  }
  return {item / problem.items_per_sequence, item % problem.items_per_sequence + token};
}

// Elements from rows.data to a head's row.
inline int64_t offset_of(const Rows& rows, const QueryPlace& place, int64_t head) {
  return place.sequence * rows.stride_sequence + place.token * rows.stride_token +
         head * rows.stride_head;
}

// Query tokens of an item.
inline int64_t query_tokens(const Problem& problem, const Call& call, int64_t item) {
  return problem.ragged ? call.query_begin[item + 1] - call.query_begin[item] : problem.s_q;
}

// Tokens of an item in one stream; a negative number counts as 0.
inline int64_t length_of(const Problem& problem, const Call& call, size_t stream, int64_t item) {
  const Stream& of = call.streams[stream];
  const int64_t most = problem.streams[stream].most_tokens;
  if (of.lengths == nullptr) {
    return most;
  }
  const int64_t length = of.lengths[item / problem.items_per_sequence * of.lengths_stride];
  return std::clamp<int64_t>(length, 0, most);
}

// The item's row of the stream's block table or list of slots; null: a table without columns.
inline const int32_t* ids_of(const Problem& problem, const Stream& stream, int64_t item) {
  if (stream.ids == nullptr) {
    return nullptr;
  }
  return stream.ids + item / problem.items_per_sequence * stream.ids_stride_sequence +
         item % problem.items_per_sequence * stream.ids_stride_token;
}

// A query token's row of the tree mask; null: none was brought.
inline const uint8_t* tree_row(const Problem& problem, const Call& call, int64_t item,
                               int64_t token) {
  if (call.tree_mask == nullptr) {
    return nullptr;
  }
  const QueryPlace place = query_place(problem, call, item, token);
  return call.tree_mask + place.sequence * call.tree_stride_sequence +
         place.token * call.tree_stride_token;
}

// The slot of token `token` of a stream whose ids for this item are `ids`; -1 if it has none.
inline int64_t slot_of(const StreamShape& shape, const Stream& stream, const int32_t* ids,
                       int64_t token) {
  if (shape.kind == StreamKind::kPages) {
    return ids[token / shape.page_size] * shape.page_size + token % shape.page_size;
  }
  const int64_t slot = ids[token];
  return slot >= 0 && slot < stream.pages * shape.page_size ? slot : -1;
}

}  // namespace seesaw::attention
