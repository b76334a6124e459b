// What sparse attention has to give, apart from how it is run: a definition in double of its own,
// and the contract's bounds.
#pragma once

#include <string>
#include <vector>

#include "lab/sparse_case.hpp"
#include "lab/sparse_inputs.hpp"
#include "support/guarded_buffer.hpp"

namespace seesaw::testing {

using lab::SparseCase;
using lab::SparseSpec;

// Packed: out [b, s_q, h_q, d_v], lse and max_logits [b, h_q, s_q].
struct SparseResults {
  std::vector<double> out;
  std::vector<double> lse;
  std::vector<double> max_logits;

  bool operator==(const SparseResults& other) const;  // same bits; NaN equals NaN
};

// The outputs of one call, NaN between guard bands until it is run.
struct SparseOutputs {
  explicit SparseOutputs(const SparseCase& test_case);

  // Arguments with these outputs.
  seesaw_sparse_decode_args decode_args(const SparseCase& test_case);
  seesaw_sparse_prefill_args prefill_args(const SparseCase& test_case);

  bool intact() const { return out.intact() && lse.intact() && max_logits.intact(); }
  // Fails the current test if a gap between rows was written.
  SparseResults results(const SparseSpec& spec) const;

  GuardedBuffer out;
  GuardedBuffer lse;
  GuardedBuffer max_logits;
};

// Sparse attention read aloud, in double: shares no code with src/attention.
SparseResults exact_sparse(const lab::SparseInputs& inputs);

// Fails the current test unless every element is within the contract's bounds.
void expect_within_contract(const SparseCase& test_case, const SparseResults& results,
                            bool prefill);

}  // namespace seesaw::testing
