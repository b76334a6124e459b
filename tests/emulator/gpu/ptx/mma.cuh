// The emulator's side of src/gpu/ptx/mma.cuh: each lane computes its four numbers from all lanes'
// fragments, sums in order.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "gpu/ptx/arithmetic.cuh"

namespace seesaw::ptx {

template <typename T>
void mma(float* c, const uint32_t* a, uint32_t b0, uint32_t b1) {
  struct Fragments {
    uint32_t a[4];
    uint32_t b[2];
  };
  const auto all = emulated_exchange(~0U, Fragments{{a[0], a[1], a[2], a[3]}, {b0, b1}});
  const unsigned row = threadIdx.x % 32 / 4;
  const unsigned column = threadIdx.x % 4 * 2;
  for (unsigned pair = 0; pair < 8; ++pair) {  // of neighbouring k
    const unsigned quad_lane = pair % 4;
    const unsigned upper = pair / 4;  // k >= 8
    const auto from_a = emulated_lane_value<Fragments>(all, 4 * row + quad_lane);
    const float2 low_row = unpack<T>(from_a.a[2 * upper]);
    const float2 high_row = unpack<T>(from_a.a[2 * upper + 1]);
    for (unsigned i = 0; i < 2; ++i) {
      const auto from_b = emulated_lane_value<Fragments>(all, 4 * (column + i) + quad_lane);
      const float2 b = unpack<T>(from_b.b[upper]);
      c[i] = c[i] + low_row.x * b.x + low_row.y * b.y;
      c[2 + i] = c[2 + i] + high_row.x * b.x + high_row.y * b.y;
    }
  }
}

}  // namespace seesaw::ptx
