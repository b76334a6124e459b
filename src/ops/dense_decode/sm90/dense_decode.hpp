// sm90.dense_decode.bf16 and .fp16 behind the registry's functions: dense_decode/README.md has the
// algorithm, ../cuda/ the planner and the combine.
#pragma once

#include "base/status.hpp"
#include "ops/dense_decode/plan.hpp"
#include "ops/dense_decode/problem.hpp"

namespace seesaw::dense_decode::sm90 {

// Whether the variant can run `problem` on the problem's device, or why not. Never an error, also
// not on a machine without a GPU.
Support supports_dense_decode_bf16(const DenseDecodeProblem& problem);
Support supports_dense_decode_fp16(const DenseDecodeProblem& problem);

// Workers, tiles and workspace for a supported problem.
DenseDecodePlan plan_dense_decode(const DenseDecodeProblem& problem);

// Builds the schedule on the device, by one launch on `stream`.
Status schedule_dense_decode(const DenseDecodePlan& plan, const TensorView& seq_lens,
                             void* schedule, void* stream);

// Attention, then the combine if the plan can split a sequence. Two launches on arguments.stream:
// nothing is allocated, copied to the host or waited for, except with problem.check_data.
Status run_dense_decode(const DenseDecodePlan& plan, const DenseDecodeArguments& arguments);

}  // namespace seesaw::dense_decode::sm90
