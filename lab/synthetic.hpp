// Synthetic cases of any size: values by any draw of values.hpp, pages in random order, and NaN in
// every slot that must not be read. A page is made alone, from the seed and its number, so that a
// cache larger than memory can be written page by page. For strides, chosen values and other traps
// there is decode_case.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "lab/pages.hpp"
#include "lab/values.hpp"
#include "seesaw/ops/dense_decode.h"

namespace seesaw::lab {

struct SyntheticRules {
  uint64_t seed = 0;
  Values values = Values::kSuite;
  int64_t spare_pages = 0;  // that belong to no sequence
  int64_t columns = 0;      // of the block table; 0: as many as the longest sequence has pages
  // Ragged: query tokens of each sequence; the problem's s_q is the most of them, or more. Empty:
  // s_q of each.
  std::vector<int32_t> query_lens = {};
};

class SyntheticCase {
 public:
  // `shape`: the problem with its defaults filled in; batch and max_pages_per_sequence are the
  // lengths', and what is ragged is the rules'.
  SyntheticCase(const seesaw_dense_decode_problem& shape, std::vector<int32_t> seq_lens,
                const SyntheticRules& rules);

  const seesaw_dense_decode_problem& problem() const { return problem_; }
  int64_t num_pages() const { return static_cast<int64_t>(pages_.owners.size()); }
  const std::vector<int32_t>& seq_lens() const { return seq_lens_; }
  const std::vector<int32_t>& block_table() const { return pages_.entries; }
  const std::vector<int32_t>& query_lens() const { return rules_.query_lens; }
  const std::vector<int32_t>& cu_seqlens_q() const { return cu_seqlens_q_; }  // empty: not ragged
  int64_t total_queries() const;
  int64_t total_tokens() const;

  size_t q_bytes() const;  // of the whole tensor
  size_t q_bytes_of_sequence(int64_t sequence) const;
  size_t page_bytes() const;  // of one page
  size_t cache_bytes() const { return page_bytes() * pages_.owners.size(); }
  void fill_q_of_sequence(int64_t sequence, void* values) const;
  void fill_page(int64_t page, void* values) const;
  void fill_q(void* values) const;
  void fill_cache(void* values) const;

  // The inputs of a call, q and the cache at these addresses in host memory.
  seesaw_dense_decode_args inputs(const void* q, const void* cache) const;

 private:
  void fill_values(int64_t page, int64_t first_token, int32_t dtype, void* values,
                   size_t count) const;
  void fill_records(const std::vector<float>& tokens, void* page) const;

  seesaw_dense_decode_problem problem_;
  SyntheticRules rules_;
  std::vector<int32_t> seq_lens_;
  std::vector<int32_t> cu_seqlens_q_;
  PageTable pages_;
};

// A case with its q and cache in host memory.
class SyntheticMemory {
 public:
  explicit SyntheticMemory(const SyntheticCase& source)
      : q_(source.q_bytes()), cache_(source.cache_bytes()) {
    source.fill_q(q_.data());
    source.fill_cache(cache_.data());
  }
  seesaw_dense_decode_args inputs(const SyntheticCase& source) const {
    return source.inputs(q_.data(), cache_.data());
  }

 private:
  AlignedBuffer q_;
  AlignedBuffer cache_;
};

// The scale that a case has if nobody says otherwise.
float default_scale(int64_t d_qk);

// The values of a latent cache: 512 for the two row sizes of DeepSeek's models, else all columns.
constexpr int64_t default_d_v(int64_t d_qk) { return d_qk == 576 || d_qk == 512 ? 512 : d_qk; }

}  // namespace seesaw::lab
