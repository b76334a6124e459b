// sm90.dense_decode with a clock: a variant of the kernel, compiled apart, whose warpgroups note
// when they reach what (marks.cuh). d_qk 576 in bf16.
#pragma once

#include <cuda_runtime_api.h>

#include "base/status.hpp"
#include "core/trace.hpp"
#include "ops/dense_decode/plan.hpp"
#include "ops/dense_decode/problem.hpp"
#include "ops/dense_decode/sm90/kernels.hpp"
#include "ops/dense_decode/sm90/marks.hpp"

namespace seesaw::dense_decode::sm90 {

inline constexpr int kTracedPieces = 32;  // of a worker; later ones are run, but not noted

// What a thread block notes, zero where nothing was reached. Clocks count the SM's cycles; the
// two pairs of clock and time say when that was.
struct TraceBlock {
  unsigned long long entered_ns, entered_clock;
  unsigned long long left_ns, left_clock;
  unsigned long long clock[2][kTracedPieces][kMarks];  // [warpgroup][piece][mark]
};

// Makes the traced variant write to `blocks`, one entry a thread block, x fastest.
cudaError_t set_trace_blocks(TraceBlock* blocks, cudaStream_t stream);
Status launch_traced(const DenseDecodeParams& params, const AttentionLaunch& launch);
// Writes the device's time in nanoseconds once everything before it has ended.
cudaError_t launch_stamp(unsigned long long* time_ns, cudaStream_t stream);

// Runs attention and combine on call.stream, waits, and reports. Steps: "start" (launch,
// barriers), "query copy", "first tile", "first pair", "steady", "epilogue"; of the whole device
// "launch" and "combine".
Status trace(const DenseDecodePlan& plan, const Args& args, const Call& call, Trace* trace);

}  // namespace seesaw::dense_decode::sm90
