// The plan of shared memory, and the barriers.
#pragma once

#include "kernels/cuda/ptx.cuh"
#include "kernels/sm90/dense_decode/config.hpp"

namespace seesaw::sm90 {

// Named barriers: each name is the fact that becomes true when it opens. README.md has the table of
// who arrives, who waits and which reuse each protects. Number 0 is __syncthreads.
enum NamedBarrier : int {
  kFrame0Ready = 1,  // frame and scale0 hold tile 0's; left has finished with P1 of the last pair
  kFrame1Ready,      // frame and scale1 hold tile 1's; right has finished with P0 of the last pair
  kP0Stored,         // P0 is in shared memory, tile 0's values are clean
  kP1Stored,         // P1 is in shared memory, tile 1's values are clean, right's products issued
  kSumsReady,        // both halves of the row sums are in shared memory
  kLeftScrub,        // warpgroup left only: scores of the tile are done, or its values are clean
  kRightScrub,       // the same of warpgroup right
  kNamedBarrierCount
};
static_assert(kNamedBarrierCount <= 16, "PTX ISA, bar: 16 named barriers a thread block");

// 64 rows x 64 columns of 16 bits, 128-byte swizzle: 16-byte chunk c of row r lies at chunk
// c ^ (r % 8). The hardware swizzles address bits, so a box has to start on 1,024 bytes.
struct alignas(1024) Box {
  uint16_t element[kTileRows][kBoxColumns];
};
static_assert(sizeof(Box) == 8192);

// What a consumer needs to know of a piece. Written by a query loader before it signals q_full;
// two slots, so that the next piece's is written while this one's is read.
struct PieceInfo {
  int32_t sequence;
  int32_t num_tiles;    // 0: nothing to attend
  int32_t token_begin;  // first token of the first tile
  int32_t masked_tile;  // tiles of the piece below this one are seen whole by every row
  int32_t seq_len;      // >= 0
  int32_t partial;      // slot, or -1: write out directly
};

template <typename Config>
struct SharedStorage {
  // Q tile, row-major boxes. Writer: query loaders. Readers: both consumers. One piece.
  // Config::kHasRotaryBox: box 8 becomes P1 once both consumers hold it in registers; it is the
  // loaders' again when warpgroup left has consumed the last P1 (q_rotary_empty).
  Box q[Config::kQkBoxes];
  // Two KV tiles, one box a 64-column slice. Writer: KV loader (TMA), and scrub_values. Readers:
  // the tile's own warpgroup (scores), both (values).
  Box kv[2][Config::kQkBoxes];
  // P0 (and P1 where it has room of its own). Writer: the tile's warpgroup; reader: the other.
  Box p[Config::kHasRotaryBox ? 1 : 2];
  float frame[kTileRows];      // running maximum, log2 units; see online_softmax.cuh
  float scale[2][kTileRows];   // 2^(old frame - new frame) of tile 0 and of tile 1
  float sum[2][2][kTileRows];  // [piece parity][warpgroup] sums of probabilities
  PieceInfo piece[2];
  uint64_t q_full;          // arrivals: query loader warps
  uint64_t q_empty;         // boxes 0-7 of Q have been read; arrivals: consumer warps
  uint64_t q_rotary_empty;  // box 8; arrivals: warps of warpgroup left
  uint64_t kv_full[2][Config::kQkBoxes];  // transaction bytes of one box
  uint64_t kv_empty[2][2];  // [buffer][0: boxes 0-3, 1: the rest]; arrivals: warps of one consumer
};
// CUDA programming guide, compute capability 9.0: 227 KB of dynamic shared memory a thread block.
template <typename Config>
inline constexpr bool kFitsSharedMemory = sizeof(SharedStorage<Config>) <= 227 * 1024;

// Shared-window addresses of the plan's members.
template <typename Config>
struct SharedAddresses {
  using Storage = SharedStorage<Config>;
  uint32_t base;

  __device__ explicit SharedAddresses(const Storage& storage) : base(ptx::shared_address(&storage)) {}

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
  __device__ uint32_t q_full() const { return base + offsetof(Storage, q_full); }
  __device__ uint32_t q_empty() const { return base + offsetof(Storage, q_empty); }
  __device__ uint32_t q_rotary_empty() const { return base + offsetof(Storage, q_rotary_empty); }
  __device__ uint32_t kv_full(int buffer, int box) const {
    return base + offsetof(Storage, kv_full) + (buffer * Config::kQkBoxes + box) * 8;
  }
  __device__ uint32_t kv_empty(int buffer, int half) const {
    return base + offsetof(Storage, kv_empty) + (buffer * 2 + half) * 8;
  }
};

template <typename Config>
__device__ __forceinline__ void init_barriers(const SharedAddresses<Config>& shared) {
  constexpr int kWarpsPerWarpgroup = 4;
  ptx::mbarrier_init(shared.q_full(), kQueryLoaderWarps);
  ptx::mbarrier_init(shared.q_empty(), 2 * kWarpsPerWarpgroup);
  ptx::mbarrier_init(shared.q_rotary_empty(), kWarpsPerWarpgroup);
  for (int buffer = 0; buffer < 2; ++buffer) {
    for (int box = 0; box < Config::kQkBoxes; ++box) {
      ptx::mbarrier_init(shared.kv_full(buffer, box), 1);
    }
    for (int half = 0; half < 2; ++half) {
      ptx::mbarrier_init(shared.kv_empty(buffer, half), kWarpsPerWarpgroup);
    }
  }
  ptx::fence_mbarrier_init();
}

}  // namespace seesaw::sm90
