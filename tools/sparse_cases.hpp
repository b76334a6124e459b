// The sparse operations as the commands see them: their cases, and what `seesaw check` goes
// through.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "check_grid.hpp"
#include "lab/sparse_case.hpp"
#include "lab/work.hpp"
#include "laboratory.hpp"

namespace seesaw::tools {

// A case as a call of either operation.
struct DecodeSide {
  using Operation = SparseDecodeOperation;
  static auto problem(const SparseCase& of) { return of.problem(); }
  static auto inputs(const SparseCase& of) { return of.inputs(); }
};
struct PrefillSide {
  using Operation = SparsePrefillOperation;
  static auto problem(const SparseCase& of) { return of.prefill_problem(); }
  static auto inputs(const SparseCase& of) { return of.prefill_inputs(); }
};

std::string name_of(const SparseSpec& spec);  // "b2 sq1 hq16 d576/512 topk200 page64 bf16"
std::string dtypes_text(const SparseSpec& spec);

// Every axis of the contract alone, then random combinations. Specs of prefill have s_q = 1, pages
// of one row and no extra cache.
std::vector<SparseSpec> sparse_grid(bool prefill, GridSize size, uint64_t seed);

// By arithmetic alone: every entry of every list is a token of its own.
Work work_of(const SparseSpec& spec);

}  // namespace seesaw::tools
