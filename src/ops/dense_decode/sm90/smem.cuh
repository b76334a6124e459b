// The plan of shared memory, and the barriers.
#pragma once

#include "gpu/pipeline.cuh"
#include "gpu/ptx/shared_memory.cuh"
#include "gpu/sm90/facts.cuh"
#include "ops/dense_decode/sm90/pieces.cuh"

namespace seesaw::dense_decode::sm90 {

template <typename Config>
struct SharedStorage {
  // Q tile, row-major boxes. Writer: query loaders. Readers: both consumers. One piece.
  // Config::kHasRotaryBox: box 8 becomes P1 once both consumers hold it in registers; it is the
  // loaders' again when warpgroup left has consumed the last P1 (q_empty[1]).
  Box q[Config::kQkBoxes];
  // Two KV tiles, one box a 64-column slice. Writer: KV loader (TMA), and scrub_values. Readers:
  // the tile's own warpgroup (scores), both (values).
  Box kv[2][Config::kQkBoxes];
  // P0 (and P1 where it has room of its own). Writer: the tile's warpgroup; reader: the other.
  Box p[Config::kHasRotaryBox ? 1 : 2];
  float frame[kTileRows];      // running maximum, log2 units; see online_softmax.cuh
  float scale[2][kTileRows];   // 2^(old frame - new frame) of tile 0 and of tile 1
  float sum[2][2][kTileRows];  // [slot of the piece's turn][warpgroup] sums of probabilities
  // [slot of the piece's turn] Writer: a query loader, before it signals q_full[0]. Two slots, so
  // that the next piece's is written while this one's is read.
  PieceInfo piece[2];
  // [slot of the piece's turn][warpgroup] number + 1 of the last piece in whose masked tiles the
  // warpgroup has met values that are not finite, see scrub_values
  uint32_t not_finite[2][2];
  // Q is loaded and released in two parts: boxes 0-7, and the rotary box.
  uint64_t q_full[2];   // arrivals: TMA's announcing thread, or query loader warps
  uint64_t q_empty[2];  // arrivals: 0: consumer warps, 1: warps of warpgroup left
  uint64_t kv_full[2][Config::kKvCopies];  // [buffer][copy]; arrivals: TMA's announcing thread
  // [buffer][half: 0: boxes 0-3, 1: the rest]; arrivals: warps of the consumer that reads it last
  uint64_t kv_empty[2][2];
};
// CUDA programming guide, compute capability 9.0: 227 KB of dynamic shared memory a thread block.
template <typename Config>
inline constexpr bool kFitsSharedMemory = sizeof(SharedStorage<Config>) <= 227 * 1024;

// Shared-window addresses of the plan's members.
template <typename Config>
struct SharedAddresses {
  using Storage = SharedStorage<Config>;
  uint32_t base;

  __device__ explicit SharedAddresses(const Storage& storage)
      : base(ptx::shared_address(&storage)) {}

  __device__ uint32_t q() const { return base + offsetof(Storage, q); }
  __device__ uint32_t kv(int buffer) const {
    return base + offsetof(Storage, kv) + buffer * sizeof(Storage::kv[0]);
  }
  __device__ uint32_t p(int tile) const {
    if constexpr (Config::kHasRotaryBox) {
      return tile == 0 ? base + offsetof(Storage, p) : q() + kValueBoxes * sizeof(Box);
    } else {
      return base + offsetof(Storage, p) + tile * sizeof(Box);
    }
  }
  __device__ gpu::FullBarrier q_full(int part) const {
    return {barrier(offsetof(Storage, q_full), part)};
  }
  __device__ gpu::EmptyBarrier q_empty(int part) const {
    return {barrier(offsetof(Storage, q_empty), part)};
  }
  __device__ gpu::FullBarrier kv_full(int buffer, int copy) const {
    return {barrier(offsetof(Storage, kv_full), buffer * Config::kKvCopies + copy)};
  }
  __device__ gpu::EmptyBarrier kv_empty(int buffer, int half) const {
    return {barrier(offsetof(Storage, kv_empty), buffer * 2 + half)};
  }

 private:
  __device__ uint32_t barrier(size_t first, int index) const {
    return base + static_cast<uint32_t>(first + index * sizeof(uint64_t));
  }
};

// By one thread, before any other uses them.
template <typename Config>
__device__ __forceinline__ void init_barriers(const SharedAddresses<Config>& shared,
                                              bool q_by_tma) {
  constexpr int kWarpsPerWarpgroup = 4;
  for (int part = 0; part < 2; ++part) {
    shared.q_full(part).init(q_by_tma ? 1 : kQueryLoaderWarps);
  }
  shared.q_empty(0).init(2 * kWarpsPerWarpgroup);
  shared.q_empty(1).init(kWarpsPerWarpgroup);
  for (int buffer = 0; buffer < 2; ++buffer) {
    for (int copy = 0; copy < Config::kKvCopies; ++copy) {
      shared.kv_full(buffer, copy).init(1);
    }
    for (int half = 0; half < 2; ++half) {
      shared.kv_empty(buffer, half).init(kWarpsPerWarpgroup);
    }
  }
  ptx::fence_mbarrier_init();
}

}  // namespace seesaw::dense_decode::sm90
