// Copies of rungs 8 to 10: boxes by TMA, and the rows that must not be read.
#pragma once

#include "gpu/ptx.cuh"
#include "ladder/arithmetic.hpp"
#include "ladder/runtime.cuh"
#include "ladder/swizzle.hpp"
#include "ladder/tensor_map.hpp"

namespace seesaw::ladder {

struct Maps {
  CUtensorMap q;
  CUtensorMap pool;
};

// Asks for 64 rows of all nine column tiles, from `row` on, in one box, and announces their bytes;
// `full` completes when all of them are there. For one thread to call.
__device__ __forceinline__ void request(unsigned char* destination, uint64_t& full,
                                        const CUtensorMap& map, int row) {
  const uint32_t barrier = ptx::shared_address(&full);
  ptx::mbarrier_arrive_expect(barrier, kBlockBytes);
  ptx::copy_box<ptx::kEvictNormal>(ptx::shared_address(destination), &map, barrier,
                                   {0, row, 0, 0, 0});
}

// Zeros in rows [first_row, 64) of `tiles` tiles. Token slots past a sequence's end may hold NaN,
// and as values they would be multiplied by probabilities of zero. `thread` of `threads` takes
// part; the caller puts a barrier behind it.
__device__ __forceinline__ void clear_rows(unsigned char* first_tile, int tiles, int first_row,
                                           int thread, int threads) {
  for (int i = thread; i < tiles * kTileBytes / 16; i += threads) {
    if (i / 8 % kTileRows >= first_row) {
      reinterpret_cast<Eight*>(first_tile)[i] = Eight{};
    }
  }
}

}  // namespace seesaw::ladder
