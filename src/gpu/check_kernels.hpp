// The device half of SEESAW_CHECK: kernels that find the first offender. check_data.cpp tells it.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "split/split_kv.hpp"

namespace seesaw::gpu {

// What *first_fault holds if all is well: it is set to all ones before each launch.
inline constexpr unsigned long long kNoFault = ~0ULL;

struct LengthsParams {
  const int32_t* seq_lens;
  int64_t stride;
  int64_t batch;
  int64_t max_tokens;
  unsigned long long* first_fault;  // least sequence with a bad length
};

struct BlockTableParams {
  const int32_t* seq_lens;
  int64_t seq_len_stride;
  const int32_t* table;
  int64_t table_stride;
  int64_t batch;
  int64_t page_size;
  int64_t num_pages;
  int64_t columns;
  unsigned long long* first_fault;  // least sequence * columns + column with a bad id
};

// Lists of slots: item i is number i % items_per_sequence of sequence i / items_per_sequence.
struct ListsParams {
  const int32_t* slots;
  int64_t stride_sequence, stride_item;  // elements; from an entry to the next: 1
  const int32_t* lengths;                // [sequence], or null: `most`
  int64_t lengths_stride;
  int64_t items, items_per_sequence;
  int64_t most;       // entries of a list
  int64_t num_slots;  // of the cache
  // Least item * (most + 1) + 1 + entry whose entry is neither -1 nor a slot; a length that no list
  // has counts as the entry before the first.
  unsigned long long* first_fault;
};

struct ScheduleParams {
  const uint32_t* given;
  const uint32_t* wanted;
  split::SplitConfig config;
  int32_t batch;
  unsigned long long* first_fault;  // least differing 32-bit word
};

// Each clears *first_fault and looks for the least offender, on `stream`.
cudaError_t launch_check(const LengthsParams& params, cudaStream_t stream);
cudaError_t launch_check(const BlockTableParams& params, cudaStream_t stream);
cudaError_t launch_check(const ListsParams& params, cudaStream_t stream);
cudaError_t launch_check(const ScheduleParams& params, cudaStream_t stream);

}  // namespace seesaw::gpu
