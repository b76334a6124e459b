// Running a case through the public API, and measuring what came out against the double reference.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lab/errors.hpp"
#include "support/host_call.hpp"

namespace seesaw::testing {

// Packed: out [b, s_q, h_q, d_v], lse and max_logits [b, h_q, s_q]; ragged [total_q, h_q, d_v] and
// [h_q, total_q].
struct DecodeResults {
  std::vector<double> out;
  std::vector<double> lse;
  std::vector<double> max_logits = {};  // empty: not asked for

  // Same bits, where no NaN is involved; NaN equals NaN.
  bool operator==(const DecodeResults& other) const;
};

struct RunOptions {
  std::string kernel = {};  // empty: the library's choice
  int32_t threads = 0;      // 0: the library's choice
  bool want_lse = true;
  const QueryParts* parts = nullptr;  // of the case's queries; null: they are one tensor
};

// Plans, schedules and runs. Outputs, schedule and workspace start as NaN between guard bands;
// fails the current test if a band or a gap between rows was written. Throws seesaw::Error.
DecodeResults run_case(const DecodeCase& test_case, const RunOptions& options = {});

// The double reference, unrounded.
DecodeResults exact_results(const DecodeCase& test_case);

// Results against the reference's, by what the contract allows.
lab::ErrorStatistics errors_of(const DecodeCase& test_case, const DecodeResults& results,
                               const DecodeResults& exact);

// Runs the case on `kernel` and fails the current test unless every element is within the
// contract's bounds of the reference; values like those of FlashMLA's suite pass its check too.
void expect_contract(const DecodeCase& test_case, const RunOptions& options);

}  // namespace seesaw::testing
