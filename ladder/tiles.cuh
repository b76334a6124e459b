// Tiles in shared memory for rungs 4 to 7: rows of bfloat16, loaded 16 bytes at a time.
//
// A row is padded by 16 bytes. Without it, rows of 1,152 or 1,024 bytes (multiples of 128) all
// begin in the same bank, and eight threads that read 16 bytes of eight different rows would queue
// up for the same four banks; with it they touch 8 x 4 different ones.
#pragma once

#include "ladder/arithmetic.hpp"
#include "ladder/runtime.cuh"

namespace seesaw::ladder {

inline constexpr int kColumnsPerLoad = 8;  // 16 bytes

template <int kRows, int kColumns>
struct alignas(16) PaddedTile {
  static constexpr int kStride = kColumns + kColumnsPerLoad;
  Bf16 values[kRows * kStride];

  __device__ const Eight& eight(int row, int column) const {
    return *reinterpret_cast<const Eight*>(&values[row * kStride + column]);
  }
  __device__ uint32_t pair(int row, int column) const {
    return *reinterpret_cast<const uint32_t*>(&values[row * kStride + column]);
  }

  // Rows [0, count) from `source` (packed), zeros in the others: slots past a sequence's end may
  // hold NaN, and zero times NaN is NaN. All threads of the block take part; neighbours read
  // neighbouring 16 bytes. The caller puts a barrier behind it.
  template <int kThreads>
  __device__ void load(const Bf16* source, int count) {
    constexpr int kLoads = kColumns / kColumnsPerLoad;
    for (int i = static_cast<int>(threadIdx.x); i < kRows * kLoads; i += kThreads) {
      const int row = i / kLoads;
      const int column = i % kLoads * kColumnsPerLoad;
      Eight value = {};
      if (row < count) {
        value =
            *reinterpret_cast<const Eight*>(source + static_cast<int64_t>(row) * kColumns + column);
      }
      *reinterpret_cast<Eight*>(&values[row * kStride + column]) = value;
    }
  }
};

}  // namespace seesaw::ladder
