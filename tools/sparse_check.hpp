// One case of `seesaw check --op sparse_decode` or `--op sparse_prefill`.
#pragma once

#include "check_report.hpp"
#include "lab/device/device.hpp"
#include "sparse_cases.hpp"

namespace seesaw::tools {

// Runs the case on every kernel that `wanted` does not leave out, and adds what it found. `Side`:
// DecodeSide or PrefillSide.
template <typename Side>
void check_sparse(const SparseSpec& spec, const seesaw_options& wanted, Device& device,
                  CheckReport* report);

}  // namespace seesaw::tools
