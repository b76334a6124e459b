// Synthetic cases: values as in the field's benchmarks (normal / 10, clamped to +-1), pages in
// random order, and NaN in every slot that must not be read. A page is made alone, from the seed
// and its number, so that a cache larger than memory can be written page by page.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "seesaw/seesaw.hpp"

namespace seesaw::tools {

// Lengths of a batch: all `max` if min == max, else uniform in [min, max].
struct LengthRule {
  int64_t min = 4096;
  int64_t max = 4096;
};

std::vector<int32_t> make_lengths(const LengthRule& rule, int64_t batch, uint64_t seed);

struct SyntheticShape {
  int64_t s_q = 1;
  int64_t h_q = 128;
  int64_t h_kv = 1;
  int64_t d_qk = 576;
  int64_t d_v = 512;
  int64_t page_size = 64;
  int64_t spare_pages = 0;  // pages that belong to no sequence
  seesaw_dtype q_dtype = SEESAW_BFLOAT16;
  seesaw_dtype kv_dtype = SEESAW_BFLOAT16;
  uint64_t seed = 0;
};

// The problem of these lengths; device, flags, threads and kernel are left at defaults.
DenseDecodeDescriptor describe_problem(const SyntheticShape& shape,
                                       const std::vector<int32_t>& seq_lens);

class SyntheticCase {
 public:
  SyntheticCase(const SyntheticShape& shape, std::vector<int32_t> seq_lens);

  const SyntheticShape& shape() const { return shape_; }
  int64_t batch() const { return static_cast<int64_t>(seq_lens_.size()); }
  int64_t num_pages() const { return static_cast<int64_t>(owners_.size()); }
  int64_t max_pages_per_sequence() const { return max_pages_; }
  const std::vector<int32_t>& seq_lens() const { return seq_lens_; }
  const std::vector<int32_t>& block_table() const { return block_table_; }
  int64_t total_tokens() const;

  size_t q_bytes() const;     // of the whole tensor
  size_t page_bytes() const;  // of one page
  size_t cache_bytes() const { return page_bytes() * owners_.size(); }
  void fill_q_of_sequence(int64_t sequence, void* values) const;  // q_bytes() / batch()
  void fill_page(int64_t page, void* values) const;
  void fill_q(void* values) const;
  void fill_cache(void* values) const;

  DenseDecodeDescriptor descriptor() const { return describe_problem(shape_, seq_lens_); }

 private:
  // Which tokens a page holds: those of `sequence` from page_index * page_size on.
  struct Owner {
    int32_t sequence = -1;  // -1: spare
    int32_t page_index = 0;
  };

  SyntheticShape shape_;
  std::vector<int32_t> seq_lens_;
  int64_t max_pages_ = 1;
  std::vector<int32_t> block_table_;
  std::vector<Owner> owners_;  // by page
};

}  // namespace seesaw::tools
