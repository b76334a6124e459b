// gpu.gather: the kernels' parameters, and its functions behind the operation's table.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "gpu/divisor.hpp"
#include "ops/gather/problem.hpp"

namespace seesaw::gather::gpu {

// A strided vector in device memory.
template <typename T>
struct Vector {
  const T* data;
  int64_t stride;  // elements
};

// The cache in bytes: token t of page p has its row at p * page_stride + t * row_stride, and its
// tail, if any, at p * page_stride + tails + t * tail_bytes.
struct Cache {
  const std::byte* data;
  int64_t num_pages;
  int64_t page_stride;
  int64_t row_stride;
  int64_t tails;
  seesaw::gpu::PageSize page_size;
  int32_t row_bytes;
  int32_t tail_bytes;
};

// Which tokens: slots of one of two types, or pages.
struct Wanted {
  Vector<int32_t> narrow_slots;  // data null: not by these
  Vector<int64_t> slots;         // data null: by pages, if the narrow ones are, too
  Vector<int32_t> cu_seq_lens;   // [batch + 1]
  Vector<int32_t> starts;        // data null: 0
  const int32_t* block_table;    // [batch, table_columns]
  int64_t table_stride;          // elements
  int64_t table_columns;
  int64_t batch;
};

// One launch.
struct GatherParams {
  Cache cache;
  Wanted wanted;
  std::byte* out;
  int64_t out_stride;  // bytes
  int64_t num_rows;    // of out
  // Numbers only:
  Segment latent;
  Segment rotary;
  Segment scales;
  int32_t scaled_columns;
  seesaw::gpu::Divisor scale_group;
  bool aligned;           // rows of the cache and of out begin on 16 bytes
  const float* kv_scale;  // null: 1
};

// Copies records with accesses of `unit` bytes, 1 to 16, to which all addresses and sizes are
// aligned.
cudaError_t launch_copy(const GatherParams& params, uint64_t unit, int32_t num_sms,
                        cudaStream_t stream);
cudaError_t launch_convert(const GatherParams& params, DType out, int32_t num_sms,
                           cudaStream_t stream);

// What check_pages() finds in device memory: copies lengths, starts and page ids to the host and
// waits for them. Debugging only.
Status check_data(const GatherPlan& plan, const Args& args, cudaStream_t stream);

Support supports(const Problem& problem, const Options& options);
Status run(const GatherPlan& plan, const Args& args, const Call& call);

struct Kernel {
  static constexpr Functions kFunctions = {.supports = supports, .plan = plan, .run = run};
};

}  // namespace seesaw::gather::gpu
