// Merges the partial results of split sequences (partials.hpp) into out and lse.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "base/status.hpp"
#include "gpu/partials.hpp"
#include "ops/dense_decode/plan.hpp"
#include "ops/dense_decode/problem.hpp"

namespace seesaw::gpu {

// Launches the combine after the attention kernel in call.stream, on the current device, with
// a programmatic edge: its blocks read the schedule while attention still runs, and wait for it
// before they read partials. Only split sequences are touched; if the plan cannot split any,
// nothing is launched. d_v = 512, q in bfloat16 or float16. Asynchronous, checked, deterministic: a
// sequence's sums are formed in an order that depends on its own number of pieces alone.
Status launch_combine(const dense_decode::DenseDecodePlan& plan, const dense_decode::Args& args,
                      const Call& call, const PartialLayout& partials, int32_t num_sms);

}  // namespace seesaw::gpu
