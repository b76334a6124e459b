// Dense MLA decoding as data: the C ABI's structs with a few words for what follows from them. See
// include/seesaw/ops/dense_decode.h for the semantics.
#pragma once

#include <cstdint>
#include <string>

#include "core/cache_format.hpp"
#include "core/lse.hpp"
#include "core/operation.hpp"
#include "core/tensor.hpp"
#include "seesaw/ops/dense_decode.h"

namespace seesaw::dense_decode {

enum class Mask { kFull, kCausal };

// The problem after complete(): no field is 0 that has a default.
struct DenseDecodeProblem : seesaw_dense_decode_problem {
  DType q_type() const { return static_cast<DType>(q_dtype); }  // of out too
  CacheFormat format() const { return cache_format(kv_format, d_qk); }
  // Of caches whose format is a dtype's.
  DType kv_type() const { return static_cast<DType>(kv_format); }
  Mask mask() const { return causal != 0 ? Mask::kCausal : Mask::kFull; }
  LseBase lse() const { return lse_base == SEESAW_LSE_BASE2 ? LseBase::kTwo : LseBase::kNatural; }
  EmptyLse lse_if_empty() const {
    return empty_lse == SEESAW_EMPTY_LSE_POSITIVE_INFINITY ? EmptyLse::kPositiveInfinity
                                                           : EmptyLse::kNegativeInfinity;
  }

  // Rows of one KV head: (query token, head of the group) pairs, packed as token * group + head.
  int64_t group() const { return h_q / h_kv; }
  int64_t rows() const { return s_q * group(); }
  int64_t max_tokens() const { return max_pages_per_sequence * page_size; }
};
static_assert(sizeof(DenseDecodeProblem) == sizeof(seesaw_dense_decode_problem));

// The names of what the problem asks for besides dense decoding proper, "window, sinks": what a
// kernel that has none of it refuses. Empty: nothing.
std::string options_of(const DenseDecodeProblem& problem);

using Args = seesaw_dense_decode_args;

// What of a call's tensors the operation's table cannot compare; reads none of them.
Status check_call(const DenseDecodeProblem& problem, const Args& args);

// Sequences of one call, up to the problem's batch.
inline int64_t batch_of(const Args& args) { return args.seq_lens.shape[0]; }

// The scale of the whole cache, in host memory; 1 if there is none.
inline float kv_scale_of(const Args& args) {
  return args.kv_scale.data == nullptr ? 1.0F : *static_cast<const float*>(args.kv_scale.data);
}

// A length in host memory, as the contract counts it: a negative one is 0.
inline int64_t length_of(const Args& args, int64_t sequence) {
  const auto* lengths = static_cast<const int32_t*>(args.seq_lens.data);
  const int32_t length = lengths[sequence * args.seq_lens.stride[0]];
  return length > 0 ? length : 0;
}

}  // namespace seesaw::dense_decode
