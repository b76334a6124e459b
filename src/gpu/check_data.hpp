// SEESAW_CHECK: looks for the first bad length, block id or schedule word in device memory, and
// tells it in four parts. Debugging only: it waits for the stream and copies to the host.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

#include "base/status.hpp"
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

struct CallToCheck {
  LengthsToCheck lengths;
  const int32_t* block_table = nullptr;  // [batch, max_pages]
  int64_t block_table_stride = 0;        // elements
  int64_t num_pages = 0;                 // of the cache
  split::SplitConfig split;
  const void* schedule = nullptr;  // schedule_bytes(split)
};

// Lengths: 0 to max_tokens(). `report`: >= 8 bytes of device memory, aligned to 8.
Status check_lengths(const LengthsToCheck& lengths, void* report, cudaStream_t stream);

// Lengths, then live entries of the block table, then the schedule against one built again.
// `scratch`: check_bytes() of device memory, aligned to 256. Refused while the stream is capturing
// a graph, as nothing can be read back then.
Status check_call(const CallToCheck& call, void* scratch, cudaStream_t stream);

}  // namespace seesaw::gpu
