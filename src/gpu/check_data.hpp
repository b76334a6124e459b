// SEESAW_CHECK: looks for the first bad length, block id, slot or schedule word in device memory.
// What all operations have is told in four parts here. Debugging only: it waits for the stream and
// copies to the host.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

#include "base/status.hpp"
#include "gpu/check_kernels.hpp"
#include "split/split_kv.hpp"

namespace seesaw::gpu {

// Copies what a check found from the device and waits for it.
Status read_back(const void* from, void* to, size_t bytes, cudaStream_t stream);

// A check reads its result back, which a stream that captures a graph cannot do.
Status refuse_while_capturing(cudaStream_t stream);

// Bytes that the checks need in device memory: a report, and room to build the schedule again.
size_t check_bytes(const split::SplitConfig& config);

// Lengths in device memory, and what they may be.
struct LengthsToCheck {
  const int32_t* seq_lens = nullptr;  // [batch]
  int64_t stride = 1;                 // elements
  int64_t batch = 0;
  int64_t max_pages = 0;  // of a sequence
  int64_t page_size = 1;

  int64_t max_tokens() const { return max_pages * page_size; }
};

struct BlockTableToCheck {
  LengthsToCheck lengths;
  const int32_t* ids = nullptr;  // [batch, max_pages]
  int64_t stride = 0;            // elements
  int64_t num_pages = 0;         // of the cache
};

struct ScheduleToCheck {
  split::SplitConfig config;
  split::Lengths lengths;  // that it should be of, in device memory
  int64_t batch = 0;
  const void* schedule = nullptr;  // schedule_bytes(config)
};

// Lengths: 0 to max_tokens(). `report`: >= 8 bytes of device memory, aligned to 8.
Status check_lengths(const LengthsToCheck& lengths, void* report, cudaStream_t stream);

// Lengths, then the entries of the block table that they make live. `report`: as above.
Status check_block_table(const BlockTableToCheck& table, void* report, cudaStream_t stream);

// The schedule against one built again. `scratch`: check_bytes() of device memory, aligned to 256.
Status check_schedule(const ScheduleToCheck& call, void* scratch, cudaStream_t stream);

// The least offender of lists of slots, as ListsParams numbers them; kNoFault: there is none.
// params.first_fault: 8 bytes of device memory, aligned to 8.
Status find_in_lists(const ListsParams& params, cudaStream_t stream, unsigned long long* first);

// All of them are refused while the stream is capturing a graph, as nothing can be read back then.

}  // namespace seesaw::gpu
