// Rung 11: split-KV with combine, the shipped kernel.
//
// WHY. Rungs 6 and 8 to 10 give a block 64 rows of one sequence, whatever its length. With 4
// sequences of 128 heads that is 8 blocks for 132 SMs; with unequal lengths the longest decides. So
// sequences are cut into pieces that keep all SMs equally busy (docs/guide, chapter 5). Each piece
// leaves a partial result (unnormalised output, maximum, sum), and a small second kernel merges the
// partials, by the same formula as step [3] of rung 3.
//
// There is no kernel in this file: this is libseesaw, called as anybody calls it, through the C
// ABI.
//   plan      once per shape: which kernel, how large its buffers      (host)
//   prepare   once per decoding step: which block does which tiles     (a small kernel)
//   run       once per layer: attention, then combine                  (timed by the ladder)
// Its kernel differs from rung 10 in what a product needs (larger pages, any heads, strides, causal
// mask, LSE) and in how often it moves its output to a new maximum (docs/guide, chapter 6).
// Where to read on: src/ops/dense_decode/sm90/README.md, src/split/split_kv.hpp.
#include <cuda_runtime.h>

#include <memory>

#include "ladder/runtime.cuh"
#include "seesaw/ops/dense_decode.h"

namespace seesaw::ladder {
namespace {

struct CudaFree {
  void operator()(void* memory) const { cudaFree(memory); }
};
using DeviceMemory = std::unique_ptr<void, CudaFree>;

Status allocate(size_t bytes, DeviceMemory* memory) {
  void* address = nullptr;
  SEESAW_RETURN_IF_ERROR(cuda_status(cudaMalloc(&address, bytes > 0 ? bytes : 1), "cudaMalloc"));
  memory->reset(address);
  return {};
}

struct Call {
  std::unique_ptr<DenseDecode> plan;
  DeviceMemory schedule;
  DeviceMemory workspace;
  seesaw_dense_decode_args args;
  seesaw_call buffers;
};

seesaw_dense_decode_problem problem_of(const Problem& p) {
  seesaw_dense_decode_problem problem;
  problem.q_dtype = SEESAW_BFLOAT16;
  problem.batch = p.batch;
  problem.h_q = p.heads;
  problem.page_size = kPageTokens;
  problem.max_pages_per_sequence = p.pages_per_sequence();
  return problem;
}

seesaw_dense_decode_args args_of(const Problem& p, seesaw_device device) {
  seesaw_dense_decode_args args;
  args.q = make_tensor(p.q, SEESAW_BFLOAT16, {p.batch, 1, p.heads, kQkColumns}, device);
  args.kv_cache =
      make_tensor(p.pool, SEESAW_BFLOAT16, {p.num_pages, kPageTokens, 1, kQkColumns}, device);
  args.block_table =
      make_tensor(p.block_table, SEESAW_INT32, {p.batch, p.pages_per_sequence()}, device);
  args.seq_lens = make_tensor(p.seq_lens, SEESAW_INT32, {p.batch}, device);
  args.out = make_tensor(p.out, SEESAW_BFLOAT16, {p.batch, 1, p.heads, kValueColumns}, device);
  args.scale = p.scale;
  return args;
}

Status prepare(const Problem& problem, Launcher* launcher) {
  seesaw_options options;
  options.device.type = SEESAW_CUDA;
  SEESAW_RETURN_IF_ERROR(cuda_status(cudaGetDevice(&options.device.index), "cudaGetDevice"));
  auto call = std::make_shared<Call>();
  call->plan = std::make_unique<DenseDecode>(problem_of(problem), options);
  call->args = args_of(problem, options.device);
  seesaw_call& buffers = call->buffers;
  buffers.schedule_bytes = call->plan->schedule_bytes();
  buffers.workspace_bytes = call->plan->workspace_bytes();
  SEESAW_RETURN_IF_ERROR(allocate(buffers.schedule_bytes, &call->schedule));
  SEESAW_RETURN_IF_ERROR(allocate(buffers.workspace_bytes, &call->workspace));
  buffers.schedule = call->schedule.get();
  buffers.workspace = call->workspace.get();
  call->plan->prepare(call->args, buffers);
  SEESAW_RETURN_IF_ERROR(cuda_status(cudaDeviceSynchronize(), "the schedule"));
  *launcher = [call](Stream stream) -> Status {
    seesaw_call buffers = call->buffers;
    buffers.stream = stream;
    try {
      call->plan->run(call->args, buffers);
    } catch (const Error& error) {
      return device_error(error.what());
    }
    return {};
  };
  return {};
}

}  // namespace

Status prepare_rung_11(const Problem& problem, Launcher* launcher) {
  try {
    return prepare(problem, launcher);
  } catch (const Error& error) {
    return not_supported(error.what());
  }
}

}  // namespace seesaw::ladder
