// Running sparse cases through the public API, a definition in double of its own to measure them
// against, and the contract's bounds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lab/sparse_case.hpp"
#include "lab/sparse_inputs.hpp"

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

struct SparseRunOptions {
  std::string kernel = {};  // "cpu", "reference"; empty: the library's choice
  int32_t threads = 0;      // 0: the library's choice
  bool prefill = false;     // the case as a prefill
};

// Plans, prepares and runs. Outputs, schedule and workspace start as NaN between guard bands; fails
// the current test if a band or a gap between rows was written. Throws seesaw::Error.
SparseResults run_sparse(const SparseCase& test_case, const SparseRunOptions& options = {});

// Sparse attention read aloud, in double: shares no code with src/attention.
SparseResults exact_sparse(const lab::SparseInputs& inputs);

// Runs the case and fails the current test unless every element is within the contract's bounds.
void expect_sparse_contract(const SparseCase& test_case, const SparseRunOptions& options = {});

}  // namespace seesaw::testing
