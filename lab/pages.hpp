// Lengths of sequences, and which page of a cache holds which of their tokens.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "lab/random.hpp"

namespace seesaw::lab {

constexpr int64_t pages_of(int64_t length, int64_t page_size) {
  return length > 0 ? (length + page_size - 1) / page_size : 0;
}

// Columns that a block table needs: at least one, as a tensor does.
inline int64_t columns_of(const std::vector<int32_t>& seq_lens, int64_t page_size) {
  const int32_t longest =
      seq_lens.empty() ? 0 : *std::max_element(seq_lens.begin(), seq_lens.end());
  return std::max<int64_t>(1, pages_of(longest, page_size));
}

// Tokens [index * page_size, ...) of `sequence`; -1: nobody's.
struct PageOwner {
  int32_t sequence = -1;
  int32_t index = 0;
};

struct PageTable {
  std::vector<int32_t>
      entries;  // [sequences, columns]; -1, which nobody may look at, past the last
  std::vector<PageOwner> owners;  // by page
};

// Every sequence's pages, in random order, `spare_pages` that nobody owns among them; at least one
// page in all.
PageTable place_pages(const std::vector<int32_t>& seq_lens, int64_t page_size, int64_t columns,
                      int64_t spare_pages, Random order);

// Lengths of a batch: all `max` if min == max, else uniform in [min, max].
struct LengthRule {
  int64_t min = 4096;
  int64_t max = 4096;
};

std::vector<int32_t> make_lengths(const LengthRule& rule, int64_t batch, uint64_t seed);

// Ragged: query tokens of each sequence, drawn as lengths are, with at least one token in all.
std::vector<int32_t> make_query_lens(const LengthRule& rule, int64_t batch, uint64_t seed);

// Streams of one seed must not meet: each purpose has a tag, mixed in before the item's number.
enum class Stream : uint64_t { kLengths = 1, kPages, kQuery, kCache, kQueryLens };
Random stream(uint64_t seed, Stream purpose, uint64_t item);

}  // namespace seesaw::lab
