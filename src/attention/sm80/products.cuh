// The two products of a tile, by one warp: [4] scores of its 16 rows and 8 tokens, [7] its 16 rows
// and quarter of the columns of the values.
#pragma once

#include "attention/sm80/smem.cuh"
#include "gpu/ptx/arithmetic.cuh"
#include "gpu/ptx/matrix.cuh"
#include "gpu/ptx/mma.cuh"
#include "gpu/ptx/registers.cuh"

namespace seesaw::attention::sm80 {

// Which part of a tile a thread has. Made anew where it is used: registers are scarce. Of accumulators it holds rows row() and row() + 8, of each
// the columns 8n + 2 quad_lane() and the next.
template <typename Config>
struct ThreadPlace {
  int thread = ptx::thread_index();
  int warp = thread / 32;
  int lane = thread % 32;

  __device__ __forceinline__ int row_warp() const { return warp / kColumnWarps; }
  __device__ __forceinline__ int column_warp() const { return warp % kColumnWarps; }
  __device__ __forceinline__ int quad_lane() const { return lane % 4; }
  __device__ __forceinline__ int row(int r) const {  // of the block's tile; r = 0 or 1
    return row_warp() * kWarpRows + lane / 4 + 8 * r;
  }
  __device__ __forceinline__ int token(int e) const {  // of the tile; e = 0 or 1
    return column_warp() * kWarpTokens + 2 * quad_lane() + e;
  }
  // Whether this thread of those of a row writes what they all know.
  __device__ __forceinline__ bool writes_row() const {
    return column_warp() == 0 && quad_lane() == 0;
  }
  __device__ __forceinline__ int first_column() const {
    return column_warp() * Config::kWarpColumns;
  }
};

// The 16 rows of a warp, in registers for a whole piece: fragments of A. Of the columns behind the
// values' they are in shared memory.
template <typename Config>
struct Queries {
  uint32_t fragment[Config::kValueSteps][4];
};

// Scores of 16 rows and 8 tokens: rows row(0) and row(1), tokens token(0) and token(1) of each.
struct Scores {
  float of[4];  // [2 * row + token]
};

// [4] S = Q K^T. Two chains of products, so that one does not wait for the other.
template <typename Config>
__device__ __forceinline__ Scores scores_of(const Queries<Config>& queries, uint32_t rotary,
                                            uint32_t tile, int d_qk) {
  using Element = typename Config::Element;
  const ThreadPlace<Config> at;
  const int token = at.column_warp() * kWarpTokens + at.lane % 8;
  const uint32_t row = tile + static_cast<uint32_t>(token * Config::kRowBytes);
  const auto swizzled = static_cast<uint32_t>((at.lane / 8) ^ (token & 7)) * kChunkBytes;
  float even[4] = {};
  float odd[4] = {};
  const auto load_keys = [&](uint32_t(&keys)[4], int pair) {  // k16 steps 2 pair and the next
    ptx::load_matrix(keys, row + static_cast<uint32_t>(pair / 2 * 128) +
                               (swizzled ^ static_cast<uint32_t>(pair % 2 * 64)));
  };
#pragma unroll
  for (int pair = 0; pair < Config::kValueSteps / 2; ++pair) {
    uint32_t keys[4];
    load_keys(keys, pair);
    ptx::mma<Element>(even, queries.fragment[2 * pair], keys[0], keys[1]);
    ptx::mma<Element>(odd, queries.fragment[2 * pair + 1], keys[2], keys[3]);
  }
  const uint32_t query =
      rotary + rotary_offset(at.row_warp() * kWarpRows + at.lane % 16, at.lane / 16);
#pragma unroll
  for (int pair = 0; pair < kRotaryColumns / 32; ++pair) {
    if (d_qk <= Config::kValueColumns + 32 * pair) break;
    uint32_t keys[4];
    uint32_t fragment[4];
    load_keys(keys, Config::kValueSteps / 2 + pair);
    ptx::load_matrix(fragment, query ^ static_cast<uint32_t>(4 * pair * kChunkBytes));
    ptx::mma<Element>(even, fragment, keys[0], keys[1]);
    ptx::load_matrix(fragment, query ^ static_cast<uint32_t>((4 * pair + 2) * kChunkBytes));
    ptx::mma<Element>(odd, fragment, keys[2], keys[3]);
  }
  Scores scores;
#pragma unroll
  for (int i = 0; i < 4; ++i) scores.of[i] = even[i] + odd[i];
  return scores;
}

// 16 rows of a warp's columns: o[n] are columns 8n + .. of them.
template <typename Config>
struct Output {
  float of[Config::kBlocks][4];

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (auto& block : of) {
#pragma unroll
      for (float& value : block) value = 0.0F;
    }
  }
  __device__ __forceinline__ void scale(float factor0, float factor1) {
#pragma unroll
    for (auto& block : of) {
      block[0] *= factor0;
      block[1] *= factor0;
      block[2] *= factor1;
      block[3] *= factor1;
    }
  }
};

// [7] O += P V.
template <typename Config>
__device__ __forceinline__ void add_values(Output<Config>& output, uint32_t probabilities,
                                           uint32_t tile) {
  using Element = typename Config::Element;
  const ThreadPlace<Config> at;
  const int half = at.lane / 16;  // of the 16 columns or tokens that a ldmatrix brings
  const uint32_t weights_row =
      probabilities + probability_offset(at.row_warp() * kWarpRows + at.lane % 16, half);
  const int first_chunk = at.first_column() / kChunkColumns;
#pragma unroll
  for (int step = 0; step < kTileTokens / 16; ++step) {  // of k16 tokens
    uint32_t weights[4];
    ptx::load_matrix(weights, weights_row ^ static_cast<uint32_t>(2 * step * kChunkBytes));
    const int token = 16 * step + at.lane % 16;
    const uint32_t values_row =
        tile + static_cast<uint32_t>(token * Config::kRowBytes + first_chunk / 8 * 128);
    const auto swizzled =
        static_cast<uint32_t>((first_chunk % 8 + half) ^ (token & 7)) * kChunkBytes;
#pragma unroll
    for (int pair = 0; pair < Config::kBlocks / 2; ++pair) {  // of n8 blocks: two chunks
      uint32_t values[4];
      ptx::load_matrix_transposed(values, values_row + static_cast<uint32_t>(pair / 4 * 128) +
                                              (swizzled ^ static_cast<uint32_t>(pair % 4 * 32)));
      ptx::mma<Element>(output.of[2 * pair], weights, values[0], values[1]);
      ptx::mma<Element>(output.of[2 * pair + 1], weights, values[2], values[3]);
    }
  }
}
static_assert(Config<int, 256, 1, false>::kWarpColumns % 64 == 0, "a warp's columns are whole 128 bytes");

}  // namespace seesaw::attention::sm80
