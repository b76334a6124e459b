#include "lab/pages.hpp"

#include <limits>
#include <numeric>
#include <string>

#include "seesaw/seesaw.hpp"

namespace seesaw::lab {
namespace {

constexpr int64_t kMost = std::numeric_limits<int32_t>::max();

std::vector<int32_t> draw(const LengthRule& rule, int64_t count, Random random) {
  std::vector<int32_t> drawn(static_cast<size_t>(count));
  for (int32_t& number : drawn) {
    number = static_cast<int32_t>(random.between(rule.min, rule.max));
  }
  return drawn;
}

}  // namespace

Random stream(uint64_t seed, Stream purpose, uint64_t item) {
  return Random(mix(seed * 8 + static_cast<uint64_t>(purpose)) ^ (item * 0xD1342543DE82EF95u));
}

std::vector<int32_t> make_lengths(const LengthRule& rule, int64_t batch, uint64_t seed) {
  if (rule.min < 0 || rule.min > rule.max || rule.max > kMost) {
    throw Error(SEESAW_INVALID_ARGUMENT,
                "lengths: [" + std::to_string(rule.min) + ", " + std::to_string(rule.max) +
                    "], allowed: 0 <= shortest <= longest < 2^31. Set --len, or --len-min and "
                    "--len-max.");
  }
  if (batch < 1 || batch > kMost) {
    throw Error(SEESAW_INVALID_ARGUMENT, "batch: " + std::to_string(batch) +
                                             " sequences, allowed: 1 to 2^31 - 1. Set --batch.");
  }
  return draw(rule, batch, stream(seed, Stream::kLengths, 0));
}

std::vector<int32_t> make_query_lens(const LengthRule& rule, int64_t batch, uint64_t seed) {
  if (rule.min < 0 || rule.min > rule.max || rule.max < 1 || rule.max > kMost) {
    throw Error(SEESAW_INVALID_ARGUMENT,
                "query tokens: [" + std::to_string(rule.min) + ", " + std::to_string(rule.max) +
                    "], allowed: 0 <= fewest <= most, 1 <= most. Set --s-q-min and --s-q.");
  }
  std::vector<int32_t> lens = draw(rule, batch, stream(seed, Stream::kQueryLens, 0));
  if (std::accumulate(lens.begin(), lens.end(), int64_t{0}) == 0) {
    lens.back() = static_cast<int32_t>(rule.max);
  }
  return lens;
}

PageTable place_pages(const std::vector<int32_t>& seq_lens, int64_t page_size, int64_t columns,
                      int64_t spare_pages, Random order) {
  int64_t pages = spare_pages;
  for (const int32_t length : seq_lens) {
    pages += pages_of(length, page_size);
  }
  if (spare_pages < 0 || pages > kMost) {
    throw Error(SEESAW_INVALID_ARGUMENT,
                "pages: " + std::to_string(pages) +
                    " pages, allowed: 1 to 2^31 - 1. Choose larger pages or shorter sequences.");
  }
  std::vector<int32_t> ids(static_cast<size_t>(std::max<int64_t>(1, pages)));
  std::iota(ids.begin(), ids.end(), 0);
  order.shuffle(&ids);
  PageTable table;
  table.owners.resize(ids.size());
  table.entries.assign(seq_lens.size() * static_cast<size_t>(columns), -1);
  size_t next = 0;
  for (size_t i = 0; i < seq_lens.size(); ++i) {
    for (int64_t k = 0; k < pages_of(seq_lens[i], page_size); ++k) {
      const int32_t id = ids[next++];
      table.entries[i * static_cast<size_t>(columns) + static_cast<size_t>(k)] = id;
      table.owners[static_cast<size_t>(id)] = {static_cast<int32_t>(i), static_cast<int32_t>(k)};
    }
  }
  return table;
}

}  // namespace seesaw::lab
