// Which cached token a row of out is: [1] of ../README.md. A warp asks together.
#pragma once

#include <cstdint>

#include "ops/gather/gpu/gather.hpp"

namespace seesaw::gather::gpu {

// A token's record; row null: there is none.
struct Record {
  const std::byte* row;
  const std::byte* tail;
};

template <typename T>
__device__ int64_t read(const Vector<T>& vector, int64_t i) {
  return vector.data[i * vector.stride];
}

// `page` as given: the one test of a page's number, whoever it comes from.
__device__ inline Record record_at(const Cache& cache, int64_t page, int64_t token) {
  if (page < 0 || page >= cache.num_pages) {
    return {nullptr, nullptr};
  }
  const std::byte* const begin = cache.data + page * cache.page_stride;
  return {begin + token * cache.row_stride, begin + cache.tails + token * cache.tail_bytes};
}

__device__ inline Record find_by_slot(const GatherParams& p, int64_t row) {
  const Wanted& wanted = p.wanted;
  const int64_t slot = wanted.narrow_slots.data != nullptr ? read(wanted.narrow_slots, row)
                                                           : read(wanted.slots, row);
  if (slot < 0) {
    return {nullptr, nullptr};
  }
  const seesaw::gpu::PageAndToken at = p.cache.page_size.place_of(slot);
  return record_at(p.cache, at.page, at.token);
}

// How many of cu_seq_lens[1, batch] are no larger than `row`: the sequence that it belongs to. Each
// round asks 32 of them and keeps a 32nd of the rest. Within [0, batch] whatever they hold.
__device__ inline int64_t sequence_of(const Wanted& wanted, int64_t row, int lane) {
  int64_t begin = 0;  // so many are known to be
  int64_t open = wanted.batch;
  while (open > 0) {
    const int64_t step = (open + 31) / 32;
    const int64_t last = (lane + 1) * step - 1;  // of the lane's share
    const bool below = last < open && read(wanted.cu_seq_lens, begin + last + 1) <= row;
    const int64_t passed = __popc(__ballot_sync(~0U, below)) * step;
    begin += passed;
    open = open - passed < step - 1 ? open - passed : step - 1;
  }
  return begin;
}

__device__ inline Record find_by_page(const GatherParams& p, int64_t row, int lane) {
  const Wanted& wanted = p.wanted;
  const int64_t found = sequence_of(wanted, row, lane);
  const int64_t sequence = found < wanted.batch ? found : wanted.batch - 1;
  const int64_t start = wanted.starts.data == nullptr ? 0 : read(wanted.starts, sequence);
  const int64_t number = start + row - read(wanted.cu_seq_lens, sequence);
  if (number < 0) {
    return {nullptr, nullptr};
  }
  const seesaw::gpu::PageAndToken at = p.cache.page_size.place_of(number);
  if (at.page >= wanted.table_columns) {
    return {nullptr, nullptr};
  }
  const int64_t page = wanted.block_table[sequence * wanted.table_stride + at.page];
  return record_at(p.cache, page, at.token);
}

__device__ inline bool by_slots(const Wanted& wanted) {
  return wanted.slots.data != nullptr || wanted.narrow_slots.data != nullptr;
}

__device__ inline Record find(const GatherParams& p, int64_t row, int lane) {
  return by_slots(p.wanted) ? find_by_slot(p, row) : find_by_page(p, row, lane);
}

// Rows of out to write: by pages those before cu_seq_lens[batch], however many that says.
__device__ inline int64_t rows_to_write(const GatherParams& p) {
  if (by_slots(p.wanted)) {
    return p.num_rows;
  }
  const int64_t end = read(p.wanted.cu_seq_lens, p.wanted.batch);
  return end < p.num_rows ? end : p.num_rows;
}

}  // namespace seesaw::gather::gpu
