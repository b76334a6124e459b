// The definition of attention, in double precision. See README.md beside this file.
#pragma once

#include "attention/call.hpp"
#include "attention/plan.hpp"

namespace seesaw::attention::reference {

// Fills in all of `plan`, but for what an operation adds to it.
Status plan(const Problem& problem, const Options& options, KnobValues knobs, Plan* plan);

// Lengths, ids and slots of the call must be within their ranges (ids of kIndices: any).
void run(const Plan& plan, const Call& call);

// The results before they are rounded to the output's type: what tests measure against. Packed
// arrays of the caller's, by the sequences and tokens of Call; of a ragged call there is one
// sequence of all query tokens.
struct ExactResults {
  double* out;                   // [sequence, query token, h_q, d_v]
  double* lse;                   // [sequence, h_q, query token]
  double* max_logits = nullptr;  // the same; null: not wanted
};

// Same computation as run, on `num_threads` threads; the call's outputs are not touched.
// `query_tokens`: of a sequence of the results, in all.
void exact(const Problem& problem, const Call& call, int64_t query_tokens, int32_t num_threads,
           const ExactResults& results);

}  // namespace seesaw::attention::reference
