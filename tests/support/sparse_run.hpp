// Running sparse cases through the public API.
#pragma once

#include <cstdint>
#include <string>

#include "support/query_parts.hpp"
#include "support/sparse_contract.hpp"

namespace seesaw::testing {

struct SparseRunOptions {
  std::string kernel = {};            // "cpu", "reference"; empty: the library's choice
  int32_t threads = 0;                // 0: the library's choice
  bool prefill = false;               // the case as a prefill
  const QueryParts* parts = nullptr;  // of the case's queries; null: they are one tensor
};

// Plans, prepares and runs. Outputs, schedule and workspace start as NaN between guard bands; fails
// the current test if a band or a gap between rows was written. Throws seesaw::Error.
SparseResults run_sparse(const SparseCase& test_case, const SparseRunOptions& options = {});

// Runs the case and fails the current test unless every element is within the contract's bounds.
void expect_sparse_contract(const SparseCase& test_case, const SparseRunOptions& options = {});

}  // namespace seesaw::testing
