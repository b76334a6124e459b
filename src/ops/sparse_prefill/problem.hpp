// Sparse MLA prefill as data: the C ABI's structs with a few words for what follows from them, and
// the same in the words of src/attention. See include/seesaw/ops/sparse_prefill.h for the
// semantics.
#pragma once

#include <cstdint>

#include "attention/call.hpp"
#include "attention/problem.hpp"
#include "attention/selection.hpp"
#include "core/cache_format.hpp"
#include "core/operation.hpp"
#include "core/tensor.hpp"
#include "seesaw/ops/sparse_prefill.h"

namespace seesaw::sparse_prefill {

// The problem after complete(): no field is 0 that has a default.
struct SparsePrefillProblem : seesaw_sparse_prefill_problem {
  DType q_type() const { return static_cast<DType>(q_dtype); }  // of out too
  CacheFormat format() const { return cache_format(kv_format, d_qk); }
};
static_assert(sizeof(SparsePrefillProblem) == sizeof(seesaw_sparse_prefill_problem));

using Args = seesaw_sparse_prefill_args;

// Query tokens of one call, up to the problem's s_q; each is an item.
inline int64_t tokens_of(const Args& args) { return args.indices.shape[0]; }

// Fills in the format and the stride of kv, and checks the fields against each other.
Status complete(SparsePrefillProblem* problem);

// The problem, and a call with its workspace and schedule, as attention's cores take them: rows of
// kv are pages of one token. Of the arguments of prepare only indices and topk_length are there.
attention::Problem attention_of(const SparsePrefillProblem& problem);
attention::Call call_of(const SparsePrefillProblem& problem, const Args& args, const Call& call);

// Sizes that the operation's table cannot compare: first in every run. Reads no data.
Status check_call(const SparsePrefillProblem& problem, const Args& args);

// Lists and their lengths, in whichever memory `find` looks.
Status check_lists(const SparsePrefillProblem& problem, const attention::Call& call,
                   const attention::FindDoubtful& find);

// Bytes and sequences of a run, see Work. Each query token counts as a sequence.
Work work_of(const SparsePrefillProblem& problem, const Options& options, const Args& args);

}  // namespace seesaw::sparse_prefill
