// Sparse MLA decoding as data: the C ABI's structs with a few words for what follows from them, and
// the same in the words of src/attention. See include/seesaw/ops/sparse_decode.h for the semantics.
#pragma once

#include <cstdint>

#include "attention/call.hpp"
#include "attention/problem.hpp"
#include "attention/selection.hpp"
#include "core/cache_format.hpp"
#include "core/operation.hpp"
#include "core/tensor.hpp"
#include "seesaw/ops/sparse_decode.h"

namespace seesaw::sparse_decode {

// The problem after complete(): no field is 0 that has a default.
struct SparseDecodeProblem : seesaw_sparse_decode_problem {
  DType q_type() const { return static_cast<DType>(q_dtype); }  // of out too
  CacheFormat format() const { return cache_format(kv_format, d_qk); }
  bool has_extra() const { return extra_topk > 0; }
  CacheFormat extra_format() const { return cache_format(extra_kv_format, d_qk); }
};
static_assert(sizeof(SparseDecodeProblem) == sizeof(seesaw_sparse_decode_problem));

using Args = seesaw_sparse_decode_args;

// Sequences of one call, up to the problem's batch; each of their query tokens is an item.
inline int64_t batch_of(const Args& args) { return args.indices.shape[0]; }

// Fills in the caches' formats and strides, and checks the fields against each other.
Status complete(SparseDecodeProblem* problem);

// The problem, and a call with its workspace and schedule, as attention's cores take them. Of the
// arguments of prepare only indices and the lengths are there.
attention::Problem attention_of(const SparseDecodeProblem& problem);
attention::Call call_of(const SparseDecodeProblem& problem, const Args& args, const Call& call);

// Which tensors were given, and sizes that the operation's table cannot compare: first in every
// run. Reads no data.
Status check_call(const SparseDecodeProblem& problem, const Args& args);

// Lists and their lengths, in whichever memory `find` looks.
Status check_lists(const SparseDecodeProblem& problem, const attention::Call& call,
                   const attention::FindDoubtful& find);

// Bytes and sequences of a run, see Work.
Work work_of(const SparseDecodeProblem& problem, const Options& options, const Args& args);

}  // namespace seesaw::sparse_decode
