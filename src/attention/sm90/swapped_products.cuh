// Products with swapped operands, for few query rows: a KV tile is A, so that its 64 tokens, and
// then 64 columns of its values, are the 64 rows that every wgmma has, and the query rows are N:
//
//   S^T [64 tokens x rows] = K Q^T          A = K, a token a row
//   O^T [64 columns x rows] += V^T P^T      A = the same boxes, read transposed
//
// A thread holds of each result the rows 16 warp + lane / 4 and that + 8 (h = 0, 1), and of them
// the query rows 8n + 2q + e, q = lane % 4, e = 0, 1: x[4n + 2h + e]. So what it knows of its query
// rows, index 2n + e, serves scores and output alike.
#pragma once

#include "attention/sm90/smem.cuh"
#include "gpu/sm90/products.cuh"

namespace seesaw::attention::sm90 {

// Barriers of one warpgroup, which has them to itself, as the seesaw's facts are not stated here.
__device__ __forceinline__ NamedBarrier maxima_ready(int warpgroup) {
  return warpgroup == 0 ? kFrame0Ready : kFrame1Ready;
}
__device__ __forceinline__ NamedBarrier p_stored(int warpgroup) {
  return warpgroup == 0 ? kP0Stored : kP1Stored;
}
__device__ __forceinline__ NamedBarrier scrub(int warpgroup) {
  return warpgroup == 0 ? kLeftScrub : kRightScrub;
}

// A consumer thread's registers. Of the output it has all columns, summed over the tiles of its own
// warpgroup.
template <int kRows>
struct SwappedState {
  static constexpr int kGroups = kRows / 8;   // of query rows, a pair of each is the thread's
  static constexpr int kOwnRows = kRows / 4;  // query rows of the thread, with others
  float o[kValueBoxes][kRows / 2];            // 64 columns each, the warpgroup's own half first
  float s[kRows / 2];                         // scores, then probabilities
  float frame[kOwnRows];                      // running maxima, log2 units
  float sum[kOwnRows];                        // of the probabilities of the thread's tokens

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (auto& part : o) {
#pragma unroll
      for (float& value : part) value = 0.0F;
    }
#pragma unroll
    for (int i = 0; i < kOwnRows; ++i) {
      frame[i] = gpu::kEmptyFrame;
      sum[i] = 0.0F;
    }
  }
};

// Query row of a thread, i = 2n + e.
__device__ __forceinline__ int own_row(int lane, int i) {
  return i / 2 * 8 + 2 * (lane % 4) + i % 2;
}

// Over the eight lanes of a warp that have the same query rows.
__device__ __forceinline__ float max_of_tokens(float value) {
#pragma unroll
  for (int step = 4; step < 32; step *= 2) {
    value = fmaxf(value, __shfl_xor_sync(~0u, value, step));
  }
  return value;
}
__device__ __forceinline__ float sum_of_tokens(float value) {
#pragma unroll
  for (int step = 4; step < 32; step *= 2) value += __shfl_xor_sync(~0u, value, step);
  return value;
}

// Issues S^T (+)= K Q^T over `kBoxes` boxes, the first overwriting S^T if `first`. `kv`, `q`:
// descriptors of their first boxes. One commit group.
template <typename Config, int kBoxes>
__device__ __forceinline__ void issue_swapped_scores(SwappedState<Config::kTileRows>& state,
                                                     uint32_t kv, uint32_t q, bool first) {
  using Mma = ptx::Wgmma<typename Config::Element, Config::kTileRows>;
  constexpr uint32_t kQueryStep = sizeof(RowBox<Config::kTileRows>) >> 4;
  ptx::wgmma_fence();
#pragma unroll
  for (int box = 0; box < kBoxes; ++box) {
#pragma unroll
    for (int step = 0; step < 4; ++step) {
      Mma::template ss<ptx::Major::kK>(state.s, kv + box * kBoxStep + step * ptx::kStepKMajor,
                                       q + box * kQueryStep + step * ptx::kStepKMajor,
                                       !(first && box == 0 && step == 0));
    }
  }
  ptx::wgmma_commit();
}

// Issues O^T += V^T P^T for the four parts of the output from kFirstPart on. `values`: descriptor
// of their boxes. One commit group.
template <typename Config, int kFirstPart>
__device__ __forceinline__ void issue_swapped_values(SwappedState<Config::kTileRows>& state,
                                                     uint32_t values, uint32_t p) {
  using Mma = ptx::Wgmma<typename Config::Element, Config::kTileRows>;
  ptx::wgmma_fence();
#pragma unroll
  for (int step = 0; step < 4; ++step) {
#pragma unroll
    for (int box = 0; box < kHalfBoxes; ++box) {
      Mma::template ss<ptx::Major::kMn>(state.o[kFirstPart + box],
                                        values + box * kBoxStep + step * ptx::kStepMnMajor,
                                        p + step * ptx::kStepKMajor, true);
    }
  }
  ptx::wgmma_commit();
}

// Probabilities, rounded, as [query row][token]: B of the second product.
template <typename Config>
__device__ __forceinline__ void store_swapped_p(const SwappedState<Config::kTileRows>& state,
                                                uint32_t p, const ConsumerThread& thread) {
  // Matrices of 8 query rows x 8 tokens: group n of rows, half h of the warp's tokens. The lane
  // gives the address of a row of one of four.
  const int row = thread.lane / 16 * 8 + thread.lane % 8;
  const int chunk = 2 * thread.warp + thread.lane / 8 % 2;
  const uint32_t to =
      p + static_cast<uint32_t>(row * (kBoxColumns * 2) + ((chunk ^ (row & 7)) << 4));
#pragma unroll
  for (int two = 0; two < Config::kTileRows / 16; ++two) {
    uint32_t pairs[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float* pair = state.s + 8 * two + 2 * i;
      pairs[i] = ptx::pack<typename Config::Element>(pair[0], pair[1]);
    }
    ptx::store_matrix_transposed(to + two * 16 * (kBoxColumns * 2), pairs);
  }
}

}  // namespace seesaw::attention::sm90
