// Dense MLA decoding as data: what is asked (the problem: shapes and maxima, known early) and what
// it is asked of (the arguments of one call). See include/seesaw/seesaw.h for the semantics.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "core/tensor.hpp"

namespace seesaw {

enum class Mask { kFull, kCausal };
enum class LseBase { kNatural, kTwo };
enum class EmptyLse { kNegativeInfinity, kPositiveInfinity };
enum class Splits { kBalanced, kBatchInvariant };

struct DenseDecodeProblem {
  Device device;
  DType q_dtype = DType::kBFloat16;  // of out too
  DType kv_dtype = DType::kBFloat16;
  int64_t batch = 0;  // the most sequences of one call
  int64_t s_q = 1;
  int64_t h_q = 0;
  int64_t h_kv = 1;
  int64_t d_qk = 576;
  int64_t d_v = 512;
  int64_t page_size = 64;
  int64_t max_pages_per_sequence = 0;
  int64_t kv_page_stride = 0;  // elements, as all strides
  int64_t kv_token_stride = 0;
  int64_t kv_head_stride = 0;
  Mask mask = Mask::kFull;
  LseBase lse_base = LseBase::kNatural;
  EmptyLse empty_lse = EmptyLse::kNegativeInfinity;
  Splits splits = Splits::kBalanced;
  bool check_data = false;  // also report negative lengths, and check device-side data
  int32_t num_threads = 0;  // CPU workers; resolved to >= 1 by validation
  std::string kernel;       // insisted on; empty = the first that can
  int32_t chunk_tokens =
      0;               // CPU: tokens packed at a time, of whole tiles; 0 = the kernel's choice
  std::string tuning;  // a tuning file, or its text; empty = none

  // Rows of one KV head: (query token, head of the group) pairs, packed as token * group + head.
  int64_t group() const { return h_q / h_kv; }
  int64_t rows() const { return s_q * group(); }
  int64_t max_tokens() const { return max_pages_per_sequence * page_size; }
};

struct DenseDecodeArguments {
  int64_t batch = 0;       // of this call, <= problem.batch
  TensorView q;            // [b, s_q, h_q, d_qk]
  TensorView kv_cache;     // [num_pages, page_size, h_kv, d_qk]
  TensorView block_table;  // [b, max_pages_per_sequence] int32
  TensorView seq_lens;     // [b] int32
  TensorView out;          // [b, s_q, h_q, d_v]
  TensorView lse;          // [b, h_q, s_q] float32, or data == nullptr
  float scale = 1.0F;
  const void* schedule = nullptr;
  void* workspace = nullptr;
  void* stream = nullptr;
};

// A kernel's answer to a problem: yes, or why not.
struct Support {
  bool supported = true;
  std::string reason;

  static Support yes() { return {}; }
  static Support no(std::string reason) { return {false, std::move(reason)}; }
};

// Tokens that query token `token` of `s_q` sees, given the sequence's length (negative counts as
// 0).
constexpr int64_t visible_tokens(int64_t seq_len, int64_t s_q, int64_t token, Mask mask) {
  const int64_t length = seq_len > 0 ? seq_len : 0;
  const int64_t visible = mask == Mask::kCausal ? length - s_q + token + 1 : length;
  return visible > 0 ? visible : 0;
}

}  // namespace seesaw
