// Cases of dense decoding: described in a few words, built with every element that must
// not matter poisoned. Slots past a sequence's length, pages of nobody and gaps between strided
// rows hold NaN; block-table entries past a sequence's pages hold ids of no page.
#pragma once

#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "lab/cache_records.hpp"
#include "lab/elements.hpp"
#include "lab/values.hpp"
#include "seesaw/ops/dense_decode.h"

namespace seesaw::lab {

// Elements left unused between rows of a tensor; 0 = packed.
struct Gaps {
  int64_t q = 0;         // after each head
  int64_t kv_token = 0;  // after each token
  int64_t kv_page = 0;   // after each page
  int64_t out = 0;       // after each head
  int64_t lse = 0;       // after each head, or each token if tokens_first
  int64_t table = 0;     // after each sequence's page ids
  int64_t lengths = 0;   // after each length
  // Not a gap: lse and max_logits lie as [b, s_q, h_q], ragged [total_q, h_q].
  bool tokens_first = false;
};

struct DecodeSpec {
  std::vector<int32_t> seq_lens = {};
  int64_t s_q = 1;
  int64_t h_q = 16;
  int64_t h_kv = 1;
  int64_t d_qk = 576;
  int64_t d_v = 512;
  int64_t page_size = 64;
  seesaw_dtype q_dtype = SEESAW_BFLOAT16;
  seesaw_dtype kv_dtype = SEESAW_BFLOAT16;
  int32_t kv_format = 0;  // a format of bytes instead of kv_dtype; gaps.kv_token: where rows may
                          // lie apart
  int32_t scale_rule = SEESAW_SCALES_EXACT;  // of a quantised cache: how its scales are computed
  float kv_scale = 1.0F;                     // of a format with a scale of the whole cache
  int32_t causal = 0;                        // these three as in the problem
  int32_t lse_base = SEESAW_LSE_NATURAL;
  int32_t empty_lse = SEESAW_EMPTY_LSE_NEGATIVE_INFINITY;
  int64_t window = 0;                    // as in the problem
  bool tree = false;                     // a tree mask of random bits
  std::vector<float> sinks = {};         // [h_q]; empty: none
  float soft_cap = 0.0F;                 // as in the arguments
  bool max_logits = false;               // they are asked for
  std::vector<int32_t> query_lens = {};  // ragged: query tokens of each sequence, up to s_q; empty:
                                         // s_q of each
  bool batch_invariant = false;
  float scale = 0.0722F;         // about 1 / sqrt(192)
  float query_magnitude = 1.0F;  // larger: sharper softmax
  int64_t planned_batch = 0;     // 0 = the number of lengths
  int64_t spare_pages = 1;       // columns of the block table that no sequence needs
  Values values = Values::kSuite;
  uint64_t seed = 1;       // of the values
  uint64_t page_seed = 1;  // of the order of pages
  uint64_t first_id = 0;   // sequence i has the values of number first_id + i
  Gaps gaps = {};
  unsigned char poison = kPoison;  // of every unused byte
  int64_t table_pages = 0;   // columns of the block table; 0 = as many as needed, and spare ones
  bool sparse_pool = false;  // reserve address space without memory behind it, for huge kv_page

  int32_t format() const { return kv_format != 0 ? kv_format : static_cast<int32_t>(kv_dtype); }
  int64_t batch() const { return static_cast<int64_t>(seq_lens.size()); }
  int64_t length(int64_t sequence) const {  // as the contract counts it
    return seq_lens[static_cast<size_t>(sequence)] > 0 ? seq_lens[static_cast<size_t>(sequence)]
                                                       : 0;
  }
  bool ragged() const { return !query_lens.empty(); }
  int64_t query_tokens(int64_t sequence) const {
    return ragged() ? query_lens[static_cast<size_t>(sequence)] : s_q;
  }
  int64_t query_begin(
      int64_t sequence) const {  // of the tokens of all sequences, one after another
    return ragged() ? std::accumulate(query_lens.begin(), query_lens.begin() + sequence, int64_t{0})
                    : sequence * s_q;
  }
  int64_t total_queries() const { return query_begin(batch()); }
};

// For messages of failed tests.
std::string describe(const DecodeSpec& spec);

class DecodeCase {
 public:
  explicit DecodeCase(const DecodeSpec& spec);

  const DecodeSpec& spec() const { return spec_; }

  // What to plan for.
  seesaw_dense_decode_problem problem() const;

  // Where and how. kernel: "" = the library's choice, else it must outlive the options; threads: 0
  // = the library's choice.
  seesaw_options options(const char* kernel = "", int32_t threads = 0) const;

  // The inputs; outputs are left empty.
  seesaw_dense_decode_args inputs() const;

  void set_query(int64_t sequence, int64_t token, int64_t head, int64_t column, float value);
  void set_key(int64_t sequence, int64_t token, int64_t kv_head, int64_t column, float value);
  // Of a quantised cache, whole tokens instead: values [d_qk].
  void set_record(int64_t sequence, int64_t token, int64_t kv_head, const float* values);
  RecordPlace record_place(int64_t sequence, int64_t token, int64_t kv_head) const;
  void set_block_table(int64_t sequence, int64_t page, int32_t id);
  void set_length(int64_t sequence, int32_t length);

  // Whether the tree mask lets a query token see number `k` of its sequence's query tokens.
  bool tree_bit(int64_t sequence, int64_t token, int64_t k) const;

  // As stored: rounded to the tensor's dtype.
  float query(int64_t sequence, int64_t token, int64_t head, int64_t column) const;
  float key(int64_t sequence, int64_t token, int64_t kv_head, int64_t column) const;

  // Strides of the outputs with the gaps asked for, and the elements they span.
  seesaw_tensor out_tensor(void* data) const;
  seesaw_tensor lse_tensor(void* data) const;  // max_logits' are the same
  size_t out_bytes() const;
  size_t lse_bytes() const;

 private:
  // Bytes of the pool, from the heap or from reserved address space.
  struct Pool;

  void build_block_table();
  void fill_query();
  void fill_tree();
  const uint8_t* tree_row(int64_t sequence, int64_t token) const;
  void fill_cache();
  void poison_sparse_pages();
  seesaw_tensor rows_tensor(const void* data, int64_t columns, int64_t gap) const;
  int64_t page_elements() const;
  size_t table_index(int64_t sequence, int64_t page) const;
  size_t query_index(int64_t sequence, int64_t token, int64_t head, int64_t column) const;
  size_t key_index(int64_t sequence, int64_t token, int64_t kv_head, int64_t column) const;

  DecodeSpec spec_;
  int64_t max_pages_ = 1;  // columns of the block table
  int64_t num_pages_ = 1;
  int64_t token_stride_ = 0;
  int64_t page_stride_ = 0;
  std::vector<int32_t> seq_lens_;
  std::vector<int32_t> block_table_;
  std::vector<int32_t> cu_seqlens_q_;
  std::vector<unsigned char> query_;
  std::vector<uint8_t> tree_;  // [query tokens, tree_bytes_]
  int64_t tree_bytes_ = 0;
  std::shared_ptr<Pool> pool_;  // shared: copies of a case see one cache
};

}  // namespace seesaw::lab
