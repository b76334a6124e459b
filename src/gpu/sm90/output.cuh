// A warpgroup's half of the output on its way out: to the caller's rows, or to partials.
#pragma once

#include "gpu/partials.hpp"
#include "gpu/quad.cuh"
#include "gpu/sm90/products.cuh"

namespace seesaw::gpu::sm90 {

// A half of the output is a block of a partial row.
inline constexpr int kHalfUnits = kHalfColumns / kPartialUnitElements;
static_assert(partial_block_columns(kValueColumns) == kHalfColumns);

inline constexpr int kWarpRows = kTileRows / 4;  // of a warpgroup's four warps

// A row of the thread, r = 0 or 1, times `factor`: columns 8n + 2q and the next as one word.
template <typename Element>
__device__ __forceinline__ uint32_t output_word(const ConsumerState& state, int r, int n,
                                                float factor) {
  const int i = 4 * n + 2 * r;
  return ptx::pack<Element>(state.o[i] * factor, state.o[i + 1] * factor);
}

// Largest magnitude of a row of the thread, r = 0 or 1, over the four lanes that share it.
__device__ __forceinline__ float largest_of_row(const ConsumerState& state, int r) {
  float largest = 0.0F;
#pragma unroll
  for (int n = 0; n < 32; ++n) {
    largest =
        fmaxf(largest, fmaxf(fabsf(state.o[4 * n + 2 * r]), fabsf(state.o[4 * n + 2 * r + 1])));
  }
  largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, 1));
  return fmaxf(largest, __shfl_xor_sync(~0u, largest, 2));
}

// Row r of the thread times `factor`, and-ed with `kept`, to `out`: the warpgroup's half of a row,
// if it `exists`. `aligned`: it starts on 16 bytes. By the whole warp.
template <typename Element>
__device__ __forceinline__ void write_half_row(const ConsumerState& state, int r, int lane,
                                               float factor, uint32_t kept, uint16_t* out,
                                               bool exists, bool aligned) {
  const int quad_lane = lane % 4;
  if (aligned) {
#pragma unroll
    for (int block = 0; block < 8; ++block) {  // 32 columns: four groups of eight
      uint32_t v[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        v[i] = output_word<Element>(state, r, 4 * block + i, factor) & kept;
      }
      transpose_quad(v, lane);
      if (exists) {
        *reinterpret_cast<uint4*>(out + block * 32 + quad_lane * 8) =
            make_uint4(v[0], v[1], v[2], v[3]);
      }
    }
  } else if (exists) {
#pragma unroll
    for (int n = 0; n < 32; ++n) {
      const uint32_t v = output_word<Element>(state, r, n, factor) & kept;
      out[8 * n + 2 * quad_lane] = static_cast<uint16_t>(v);
      out[8 * n + 2 * quad_lane + 1] = static_cast<uint16_t>(v >> 16);
    }
  }
}

// Row r of the thread, scaled to 16 bits and in the order of the accumulator (partials.hpp), to
// `out`: the warpgroup's block of a partial row.
__device__ __forceinline__ void write_half_partial(const ConsumerState& state, int r, int lane,
                                                   float scale, uint4* out) {
#pragma unroll
  for (int four = 0; four < 8; ++four) {
    out[4 * four + lane % 4] = make_uint4(output_word<__half>(state, r, 4 * four, scale),
                                          output_word<__half>(state, r, 4 * four + 1, scale),
                                          output_word<__half>(state, r, 4 * four + 2, scale),
                                          output_word<__half>(state, r, 4 * four + 3, scale));
  }
}

}  // namespace seesaw::gpu::sm90
