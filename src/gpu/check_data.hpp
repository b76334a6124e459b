// SEESAW_CHECK: looks for the first bad length, block id or schedule word in device memory, and
// tells it in four parts. Debugging only: it waits for the stream and copies to the host.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

#include "base/status.hpp"
#include "ops/dense_decode/plan.hpp"
#include "ops/dense_decode/problem.hpp"

namespace seesaw::gpu {

// Bytes that the checks need in device memory: a report, and room to build the schedule again.
size_t check_bytes(const split::SplitConfig& config);

// Lengths: 0 to problem.max_tokens(). `report`: >= 8 bytes of device memory, aligned to 8.
Status check_lengths(const dense_decode::DenseDecodeProblem& problem, const Tensor& seq_lens,
                     void* report, cudaStream_t stream);

// Lengths, then live entries of the block table, then the schedule against one built again.
// `scratch`: check_bytes() of device memory, aligned to 256. Refused while the stream is capturing
// a graph, as nothing can be read back then.
Status check_call(const dense_decode::DenseDecodePlan& plan, const dense_decode::Args& args,
                  const Call& call, void* scratch);

}  // namespace seesaw::gpu
