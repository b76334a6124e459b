// The inputs of sparse decoding and of sparse prefill in one form, for what computes with either:
// bounds, and definitions to compare with. A prefill is a decoding of as many sequences as it has
// query tokens, over pages of one row.
#pragma once

#include <cstdint>
#include <vector>

#include "seesaw/ops/sparse_decode.h"
#include "seesaw/ops/sparse_prefill.h"

namespace seesaw::lab {

// A cache and the lists of its slots.
struct ListedCache {
  int32_t format = 0;
  int64_t page_size = 1;
  seesaw_tensor cache;    // [num_pages, page_size, 1, columns]
  seesaw_tensor indices;  // [batch, s_q, topk] int32
  seesaw_tensor length;   // [batch] int32; data null: topk
  double scale = 1;       // of the whole cache

  // Entries of a sequence's lists that count.
  int64_t list_length(int64_t sequence) const;
  // Which slot; -1: none.
  int64_t slot(int64_t sequence, int64_t token, int64_t entry) const;
  // The numbers of the token in a slot, [columns].
  void read(int64_t slot, double* values) const;
};

struct SparseInputs {
  int64_t batch = 0;
  int64_t s_q = 1;
  int64_t h_q = 1;
  int64_t d_qk = 1;
  int64_t d_v = 1;
  int32_t q_dtype = 0;
  int32_t lse_base = SEESAW_LSE_NATURAL;
  int32_t empty_lse = SEESAW_EMPTY_LSE_NEGATIVE_INFINITY;
  double scale = 0;
  seesaw_tensor q;      // [batch, s_q, h_q, d_qk]
  seesaw_tensor sinks;  // [h_q]; data null: none
  std::vector<ListedCache> caches;

  const void* query(int64_t sequence, int64_t token, int64_t head) const;
  double sink(int64_t head) const;  // -inf: none
};

// In host memory; problems with their defaults filled in.
SparseInputs sparse_inputs(const seesaw_sparse_decode_problem& problem,
                           const seesaw_sparse_decode_args& args);
SparseInputs sparse_inputs(const seesaw_sparse_prefill_problem& problem,
                           const seesaw_sparse_prefill_args& args);

}  // namespace seesaw::lab
