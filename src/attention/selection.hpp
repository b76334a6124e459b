// Lists of slots (streams of kind kIndices) in host memory: how many of a list's entries count,
// which of them are tokens, and the first that a careful caller would call a mistake.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>

#include "attention/call.hpp"
#include "base/status.hpp"

namespace seesaw::attention {

// One stream of lists.
struct Selection {
  const Problem& problem;
  const StreamShape& shape;
  const Stream& stream;

  Selection(const Problem& of_problem, const Call& call, size_t index)
      : problem(of_problem), shape(of_problem.streams[index]), stream(call.streams[index]) {}

  // As the caller gave it; most_tokens if none was given.
  int64_t length_given(int64_t item) const {
    return stream.lengths == nullptr
               ? shape.most_tokens
               : stream.lengths[item / problem.items_per_sequence * stream.lengths_stride];
  }
  // Entries of the item's list that count.
  int64_t length(int64_t item) const {
    return std::clamp<int64_t>(length_given(item), 0, shape.most_tokens);
  }
  int32_t slot(int64_t item, int64_t entry) const {
    return stream.ids[item / problem.items_per_sequence * stream.ids_stride_sequence +
                      item % problem.items_per_sequence * stream.ids_stride_token + entry];
  }
  bool is_token(int64_t slot) const { return slot >= 0 && slot / shape.page_size < stream.pages; }
};

// Tokens that all lists of a stream name.
inline int64_t tokens_selected(const Selection& lists, int64_t items) {
  int64_t tokens = 0;
  for (int64_t item = 0; item < items; ++item) {
    for (int64_t entry = 0; entry < lists.length(item); ++entry) {
      tokens += lists.is_token(lists.slot(item, entry)) ? 1 : 0;
    }
  }
  return tokens;
}

// An entry that is neither -1 nor a slot of the cache, or a length that no list has. The contract
// says what they count as; with check_data they are refused.
struct Doubtful {
  int64_t item = 0;
  int64_t entry = 0;  // kLength: it is the length
  int64_t value = 0;
  static constexpr int64_t kLength = -1;
};
inline std::optional<Doubtful> first_doubtful(const Selection& lists, int64_t items) {
  for (int64_t item = 0; item < items; ++item) {
    if (lists.length_given(item) != lists.length(item)) {
      return Doubtful{item, Doubtful::kLength, lists.length_given(item)};
    }
    for (int64_t entry = 0; entry < lists.length(item); ++entry) {
      const int32_t slot = lists.slot(item, entry);
      if (slot != -1 && !lists.is_token(slot)) {
        return Doubtful{item, entry, slot};
      }
    }
  }
  return std::nullopt;
}

// Looks for it in the memory that a call's lists are in: stream number `stream` of the call.
using FindDoubtful =
    std::function<Status(const Call& call, size_t stream, std::optional<Doubtful>* found)>;

inline FindDoubtful find_on_host(const Problem& problem) {
  return [&problem](const Call& call, size_t stream, std::optional<Doubtful>* found) {
    *found = first_doubtful(Selection(problem, call, stream), call.items);
    return Status();
  };
}

}  // namespace seesaw::attention
