// cpu.dense_decode: see README.md beside this file.
#pragma once

#include "base/status.hpp"
#include "ops/dense_decode/plan.hpp"
#include "ops/dense_decode/problem.hpp"

namespace seesaw::dense_decode::cpu {

// Whether this kernel can run `problem` on this machine, or why not.
Support supports_dense_decode(const DenseDecodeProblem& problem);

// Workers, tiles and workspace for a supported problem.
DenseDecodePlan plan_dense_decode(const DenseDecodeProblem& problem);

// Runs validated arguments. Allocates nothing; thread-safe for different workspaces.
Status run_dense_decode(const DenseDecodePlan& plan, const DenseDecodeArguments& arguments);

}  // namespace seesaw::dense_decode::cpu
