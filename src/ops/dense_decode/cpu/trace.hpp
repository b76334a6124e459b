// cpu.dense_decode with a clock: the same steps, each noted. The kernel itself contains nothing of
// this: it calls its microkernel through a table, and a traced run gives it a table of its own.
#pragma once

#include "base/status.hpp"
#include "ops/dense_decode/plan.hpp"
#include "core/trace.hpp"
#include "ops/dense_decode/problem.hpp"

namespace seesaw::dense_decode::cpu {

// Runs as run_dense_decode does, with the same bits, and appends what each worker did. Steps:
// "query" (packing the query rows), "pack" (keys and values), "scores", "softmax", "accumulate",
// "store", "wait" (for the other workers), "merge". With few rows (README.md, [2]) values are
// not packed but paired inside "accumulate".
Status trace_dense_decode(const DenseDecodePlan& plan, const DenseDecodeArguments& arguments,
                          split::Trace* trace);

}  // namespace seesaw::dense_decode::cpu
