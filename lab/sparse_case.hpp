// Cases of sparse decoding and sparse prefill: described in a few words, built with every element
// that must not matter poisoned. Slots that no list names hold NaN, entries past a list's length
// hold anything, slots of NaN among it; lists name some slots twice, and -1 or numbers of no slot
// between them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lab/cache_records.hpp"
#include "lab/values.hpp"
#include "seesaw/ops/sparse_decode.h"
#include "seesaw/ops/sparse_prefill.h"

namespace seesaw::lab {

struct SparseCacheSpec {
  int32_t format = SEESAW_BFLOAT16;
  int64_t topk = 0;  // of the extra cache, 0: there is none
  int64_t page_size = 64;
  int64_t pages = 8;
  std::vector<int32_t> lengths = {};  // of each sequence's lists; empty: not given
  int64_t page_gap = 0;               // elements behind a page
  int64_t token_gap = 0;              // elements behind a token; not of formats with tails
  float scale = 1.0F;                 // of a format with a scale of the whole cache
};

// What lists name besides tokens.
enum class Strangers : uint8_t {
  kNone,
  kMinusOne,
  kAnything  // numbers beyond the cache and below -1, too
};

struct SparseSpec {
  int64_t batch = 2;
  int64_t s_q = 1;
  int64_t h_q = 16;
  int64_t d_qk = 576;
  int64_t d_v = 512;
  int32_t q_dtype = SEESAW_BFLOAT16;
  SparseCacheSpec cache = {.topk = 40};
  SparseCacheSpec extra = {};
  Strangers strangers = Strangers::kMinusOne;
  double stranger_share = 0.2;    // of the entries
  double duplicate_share = 0.2;   // of the entries: the slot of another one
  std::vector<float> sinks = {};  // [h_q]; empty: none
  int32_t lse_base = SEESAW_LSE_NATURAL;
  int32_t empty_lse = SEESAW_EMPTY_LSE_NEGATIVE_INFINITY;
  bool batch_invariant = false;
  float scale = 0.0722F;         // about 1 / sqrt(192)
  float query_magnitude = 1.0F;  // larger: sharper softmax
  int64_t planned_batch = 0;     // 0: batch
  int64_t q_gap = 0;             // elements behind each head
  int64_t out_gap = 0;           // elements behind each head
  int64_t list_gap = 0;          // entries behind each list
  Values values = Values::kSuite;
  uint64_t seed = 1;
};

// For messages of failed tests.
std::string describe(const SparseSpec& spec);

class SparseCase {
 public:
  explicit SparseCase(const SparseSpec& spec);

  const SparseSpec& spec() const { return spec_; }
  bool has_extra() const { return spec_.extra.topk > 0; }

  // As a decoding; as a prefill, one of s_q = 1 and pages of 1 without an extra cache, whose
  // sequences are the query tokens.
  seesaw_sparse_decode_problem problem() const;
  seesaw_sparse_prefill_problem prefill_problem() const;
  seesaw_options options(const char* kernel = "", int32_t threads = 0) const;

  // The inputs; outputs are left empty.
  seesaw_sparse_decode_args inputs() const;
  seesaw_sparse_prefill_args prefill_inputs() const;

  // Changes one thing. cache: 0, or 1 for the extra one.
  void set_slot(size_t cache, int64_t sequence, int64_t token, int64_t entry, int32_t slot);
  int32_t slot(size_t cache, int64_t sequence, int64_t token, int64_t entry) const;
  void set_length(size_t cache, int64_t sequence, int32_t length);
  void set_query(int64_t sequence, int64_t token, int64_t head, int64_t column, float value);
  // The token of a slot: values [d_qk].
  void write_token(size_t cache, int64_t slot, const float* values);
  // What a slot of plain format holds.
  void set_key(size_t cache, int64_t slot, int64_t column, float value);

  // Outputs with the gaps asked for, and the elements that they span.
  seesaw_tensor out_tensor(void* data) const;      // [b, s_q, h_q, d_v]
  seesaw_tensor numbers_tensor(void* data) const;  // [b, h_q, s_q] float32
  size_t out_bytes() const;
  size_t numbers_bytes() const;

 private:
  struct Memory {
    SparseCacheSpec spec;
    std::vector<std::byte> pool;
    std::vector<int32_t> indices;  // [batch, s_q, topk + list_gap]
    std::vector<int32_t> lengths;  // [batch]; empty: not given
    int64_t page_stride = 0;
    int64_t token_stride = 0;
  };

  void make_cache(size_t cache, const SparseCacheSpec& spec);
  void choose_slots(size_t cache);
  void fill_tokens(size_t cache);
  void fill_query();
  int64_t list_length(const Memory& memory, int64_t sequence) const;
  size_t entry_index(const Memory& memory, int64_t sequence, int64_t token, int64_t entry) const;
  seesaw_tensor cache_tensor(const Memory& memory) const;
  seesaw_tensor indices_tensor(const Memory& memory) const;
  seesaw_tensor lengths_tensor(const Memory& memory) const;

  SparseSpec spec_;
  std::vector<Memory> caches_;
  std::vector<std::byte> query_;
};

}  // namespace seesaw::lab
