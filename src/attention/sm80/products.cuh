// The two products of a tile, by one warp: [4] scores of its 16 rows and 8 tokens, [7] its 16 rows
// and quarter of the columns of the values.
#pragma once

#include "attention/sm80/smem.cuh"
#include "gpu/ptx/arithmetic.cuh"
#include "gpu/ptx/matrix.cuh"
#include "gpu/ptx/mma.cuh"
#include "gpu/ptx/registers.cuh"

namespace seesaw::attention::sm80 {

// Which part of a tile a thread has. Made anew where it is used: registers are scarce. Of
// accumulators it holds rows row() and row() + 8, of each the columns 8n + 2 quad_lane() and the
// next.
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

// [4] S = Q K^T, in parts of 32 columns. Two chains of products, so that one does not wait for the
// other.
template <typename Config>
struct ScoreProduct {
  using Element = typename Config::Element;
  static constexpr int kParts = Config::kValueSteps / 2;  // of the columns of the values

  uint32_t row;       // of keys
  uint32_t swizzled;  // where the thread's chunk is in 128 bytes of it
  float even[4] = {};
  float odd[4] = {};
  uint32_t keys[2][4];

  __device__ __forceinline__ explicit ScoreProduct(uint32_t tile) {
    const ThreadPlace<Config> at;
    const int token = at.column_warp() * kWarpTokens + at.lane % 8;
    row = tile + static_cast<uint32_t>(token * Config::kRowBytes);
    swizzled = static_cast<uint32_t>((at.lane / 8) ^ (token & 7)) * kChunkBytes;
  }

  // A part's keys, a part ahead of their product.
  __device__ __forceinline__ void load(int part) {
    ptx::load_matrix(keys[part % 2], row + static_cast<uint32_t>(part / 2 * 128) +
                                         (swizzled ^ static_cast<uint32_t>(part % 2 * 64)));
  }

  __device__ __forceinline__ void multiply(const Queries<Config>& queries, int part) {
    const uint32_t(&k)[4] = keys[part % 2];
    ptx::mma<Element>(even, queries.fragment[2 * part], k[0], k[1]);
    ptx::mma<Element>(odd, queries.fragment[2 * part + 1], k[2], k[3]);
  }

  // The columns behind the values', whose queries are in shared memory.
  __device__ __forceinline__ void multiply_rotary(uint32_t rotary, int d_qk) {
    const ThreadPlace<Config> at;
    const uint32_t query =
        rotary + rotary_offset(at.row_warp() * kWarpRows + at.lane % 16, at.lane / 16);
#pragma unroll
    for (int part = 0; part < kRotaryColumns / 32; ++part) {
      if (d_qk <= Config::kValueColumns + 32 * part) break;
      uint32_t fragment[2][4];
      load(kParts + part);
      ptx::load_matrix(fragment[0], query ^ static_cast<uint32_t>(4 * part * kChunkBytes));
      ptx::load_matrix(fragment[1], query ^ static_cast<uint32_t>((4 * part + 2) * kChunkBytes));
      const uint32_t(&k)[4] = keys[(kParts + part) % 2];
      ptx::mma<Element>(even, fragment[0], k[0], k[1]);
      ptx::mma<Element>(odd, fragment[1], k[2], k[3]);
    }
  }

  __device__ __forceinline__ Scores scores() const {
    Scores sums;
#pragma unroll
    for (int i = 0; i < 4; ++i) sums.of[i] = even[i] + odd[i];
    return sums;
  }
};

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

// [7] O += P V, in parts of 16 tokens and 16 columns.
template <typename Config>
struct ValueProduct {
  using Element = typename Config::Element;
  static constexpr int kPairs = Config::kBlocks / 2;  // of n8 blocks: 16 columns
  static constexpr int kParts = kTileTokens / 16 * kPairs;

  uint32_t weights_row;
  uint32_t values_row;
  uint32_t swizzled;
  uint32_t weights[4];
  uint32_t values[2][4];

  __device__ __forceinline__ ValueProduct(uint32_t probabilities, uint32_t tile) {
    const ThreadPlace<Config> at;
    const int half = at.lane / 16;  // of the 16 columns or tokens that a ldmatrix brings
    const int first_chunk = at.first_column() / kChunkColumns;
    const int token = at.lane % 16;
    weights_row =
        probabilities + probability_offset(at.row_warp() * kWarpRows + at.lane % 16, half);
    values_row = tile + static_cast<uint32_t>(token * Config::kRowBytes + first_chunk / 8 * 128);
    swizzled = static_cast<uint32_t>((first_chunk % 8 + half) ^ (token & 7)) * kChunkBytes;
  }

  // A part's values, a part ahead of their product.
  __device__ __forceinline__ void load(int part) {
    const int step = part / kPairs;
    const int pair = part % kPairs;
    ptx::load_matrix_transposed(
        values[part % 2],
        values_row + static_cast<uint32_t>(16 * step * Config::kRowBytes + pair / 4 * 128) +
            (swizzled ^ static_cast<uint32_t>(pair % 4 * 32)));
  }

  __device__ __forceinline__ void multiply(Output<Config>& output, int part) {
    const int step = part / kPairs;
    const int pair = part % kPairs;
    if (pair == 0) {
      ptx::load_matrix(weights, weights_row ^ static_cast<uint32_t>(2 * step * kChunkBytes));
    }
    const uint32_t(&v)[4] = values[part % 2];
    ptx::mma<Element>(output.of[2 * pair], weights, v[0], v[1]);
    ptx::mma<Element>(output.of[2 * pair + 1], weights, v[2], v[3]);
  }
};

// [4] alone.
template <typename Config>
__device__ __forceinline__ Scores scores_of(const Queries<Config>& queries, uint32_t rotary,
                                            uint32_t tile, int d_qk) {
  ScoreProduct<Config> product(tile);
  product.load(0);
#pragma unroll
  for (int part = 0; part < product.kParts; ++part) {
    if (part + 1 < product.kParts) product.load(part + 1);
    product.multiply(queries, part);
  }
  product.multiply_rotary(rotary, d_qk);
  return product.scores();
}

// [7] alone.
template <typename Config>
__device__ __forceinline__ void add_values(Output<Config>& output, uint32_t probabilities,
                                           uint32_t tile) {
  ValueProduct<Config> product(probabilities, tile);
  product.load(0);
#pragma unroll
  for (int part = 0; part < product.kParts; ++part) {
    if (part + 1 < product.kParts) product.load(part + 1);
    product.multiply(output, part);
  }
}

// [4] of a tile and [7] of the one before it, part by part: the chains of the scores' products wait
// while the others run.
template <typename Config>
__device__ __forceinline__ Scores scores_and_values(const Queries<Config>& queries,
                                                    const Shared<Config>& shared, uint32_t tile,
                                                    uint32_t tile_before, int d_qk,
                                                    Output<Config>& output) {
  using ScoresOf = ScoreProduct<Config>;
  using ValuesOf = ValueProduct<Config>;
  static_assert(ScoresOf::kParts == ValuesOf::kParts);
  ScoresOf product(tile);
  ValuesOf values(shared.probabilities, tile_before);
  product.load(0);
  values.load(0);
#pragma unroll
  for (int part = 0; part < ScoresOf::kParts; ++part) {
    if (part + 1 < ScoresOf::kParts) {
      product.load(part + 1);
      values.load(part + 1);
    }
    product.multiply(queries, part);
    values.multiply(output, part);
  }
  product.multiply_rotary(shared.rotary, d_qk);
  return product.scores();
}
static_assert(Config<int, 256, 1, false>::kWarpColumns % 64 == 0,
              "a warp's columns are whole 128 bytes");

}  // namespace seesaw::attention::sm80
