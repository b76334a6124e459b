// The double-precision truth for GPU tests, computed on the GPU so that a grid of thousands of
// cases is affordable: three plain kernels (scores, softmax, weighted values) in double, with no
// code in common with the kernels under test. It is itself checked against the CPU's reference
// kernel (reference_test.cpp).
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "lab/accuracy_math.hpp"

namespace seesaw::gpu_test {

enum class Element : int32_t { kBFloat16, kFloat16 };

// What a row's results may be off by. Zero for a row with nothing to attend.
struct RowAllowed {
  double score_error;  // the largest of its keys
  double weight_sum;   // of exp(score - greatest)
  lab::RowErrors errors;
  double largest;  // of the row's allowed_out
  double lse;      // in the LSE's base
};

// Everything the reference needs to know of one call. Pointers are device memory, strides elements.
struct ReferenceCall {
  Element element = Element::kBFloat16;
  int64_t batch = 0;
  int64_t s_q = 1;
  int64_t h_q = 1;
  int64_t h_kv = 1;
  int64_t d_qk = 576;
  int64_t d_v = 512;
  int64_t page_size = 64;
  int64_t max_len = 0;  // of seq_lens; columns of `scores`
  bool causal = false;
  bool lse_base2 = false;
  bool empty_lse_positive = false;
  double scale = 1.0;
  const void* q = nullptr;  // [b, s_q, h_q, d_qk]
  int64_t q_stride[3] = {};
  const void* kv = nullptr;  // [num_pages, page_size, h_kv, d_qk]
  int64_t kv_stride[3] = {};
  const int32_t* block_table = nullptr;  // [b, pages]
  int64_t block_table_stride = 0;
  const int32_t* seq_lens = nullptr;
  double* scores = nullptr;       // scratch, [b, h_q * s_q, max_len]
  double* out = nullptr;          // [b, s_q, h_q, d_v]
  double* lse = nullptr;          // [b, h_q, s_q]
  lab::Rounding rounding = {};    // of the element
  double* allowed_out = nullptr;  // [b, s_q, h_q, d_v]: what out may be off by, beside
  RowAllowed* rows = nullptr;     // [b, s_q, h_q]: what follows from the row
};

// Bytes of `scores`.
int64_t reference_scratch_bytes(const ReferenceCall& call);

// Computes out and lse, and what they may be off by, on `stream`.
cudaError_t launch_reference(const ReferenceCall& call, cudaStream_t stream);

// What an output differs from the truth by; the bounds are those of lab/accuracy.hpp, and for
// `suite` those of FlashMLA's own tests (lab/errors.hpp).
struct Difference {
  unsigned long long out_failures = 0;           // elements out of bound, NaN included
  unsigned long long lse_failures = 0;           // entries out of bound
  unsigned long long suite_failures = 0;         // of both, out of the suite's bounds
  unsigned long long first_out_failure = ~0ULL;  // least flat index in [b, s_q, h_q, d_v]
  unsigned long long first_lse_failure = ~0ULL;  // least flat index in [b, h_q, s_q]
  double max_out_error = 0.0;                    // largest |x - r|
  double max_lse_error = 0.0;
  double sum_product = 0.0;  // of x r, and of x^2 + r^2: 1 - 2 a / b is the cosine distance
  double sum_squares = 0.0;
};

// Compares the kernel's outputs with the truth in `call`; *difference is device memory, zeroed by
// this call.
cudaError_t launch_compare(const ReferenceCall& call, const void* out, const int64_t (&stride)[3],
                           const float* lse, const int64_t (&lse_stride)[3], Difference* difference,
                           cudaStream_t stream);

// Deterministic values in place of data: N(0, sigma) clamped to +-limit, a function of the seed and
// the element's place.
struct Values {
  uint64_t seed = 0;
  float sigma = 0.1F;
  float limit = 1.0F;
};

// Fills `count` elements.
cudaError_t launch_fill(void* data, Element element, int64_t count, Values values,
                        cudaStream_t stream);

// Writes the live slots of every sequence's pages, and only those: whatever the pool held before
// (NaN, in the tests) stays in dead slots and in pages that no table entry names.
cudaError_t launch_fill_cache(const ReferenceCall& call, Values values, cudaStream_t stream);

}  // namespace seesaw::gpu_test
