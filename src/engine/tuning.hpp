// Plans with a tuning file: finds the entry for the problem's device, kernel and shape, and puts
// its numbers in the place of the kernel's own.
#pragma once

#include <string>

#include "base/status.hpp"
#include "ops/dense_decode/plan.hpp"
#include "ops/dense_decode/operation.hpp"

namespace seesaw::engine {

struct TunedPlan {
  DenseDecodePlan plan;
  bool tuned = false;
  std::string tuning;  // what is in use, or why nothing is
  std::string key;     // JSON: what an entry has to match
};

// The plan of a supported problem. A tuning that cannot be read is an error; one that was measured
// for something else is not used. Batch-invariant plans never use one: their splits must be the
// same everywhere. Files are read again only when they change.
Status make_plan(const engine::DenseDecodeKernel& kernel, const DenseDecodeProblem& problem,
                 TunedPlan* made);

}  // namespace seesaw::engine
