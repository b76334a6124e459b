// Numbers, the plan of shared memory, and the barriers.
#pragma once

#include "gpu/pipeline.cuh"
#include "gpu/ptx/named_barrier.cuh"
#include "gpu/ptx/shared_memory.cuh"
#include "ops/dense_decode/sm90/pieces.cuh"

namespace seesaw::dense_decode::sm90::three {

inline constexpr int kStages = 3;     // KV tiles in shared memory
inline constexpr int kProbSlots = 2;  // tiles of probabilities
inline constexpr int kStepsOfBox = 4;
// k steps of Q, 16 columns each, that the score warpgroup keeps in registers: all of the latent
// columns but the last.
inline constexpr int kQuerySteps = kValueBoxes * kStepsOfBox;
inline constexpr int kRegisterSteps = kQuerySteps - 1;

inline constexpr int kScoreRegisters = 184;
inline constexpr int kOutputRegisters = 160;
static_assert(kScoreRegisters + 2 * kOutputRegisters <= 3 * kLaunchRegisters);

// Named barriers: each is the fact that becomes true when it opens. README.md has the table.
enum Fact : int {
  kHandedOver = 1,                   // + 2 slot + half: the slot of P holds a tile, or an end
  kScoresAhead = kHandedOver + 4,    // + 2 slot + half: the next tile's scores are issued, and this
                                     // one's half is scrubbed
  kHalfWritten = kScoresAhead + 4,   // + half: the warpgroup's results of a piece are written
  kQueriesThere = kHalfWritten + 2,  // score warpgroup only: nobody uses the last piece's, and
                                     // then: the next piece's are there
  kPieceKnown = kQueriesThere + 1,   // score warpgroup only: `piece` is the next piece
  kBarriersReady = kPieceKnown + 1,  // the mbarriers are initialised
  kFactCount
};
static_assert(kFactCount <= 16, "PTX ISA, bar: 16 named barriers a thread block");

// What the score warpgroup says of a tile of P. Written before kHandedOver.
struct Handover {
  int32_t tiles_left;   // of the piece behind this one; kPieceEnd: the slot holds a PieceEnd
  int32_t scrub_begin;  // tokens of the tile below this one are seen by every row
  int32_t scrub_end;    // tokens from this one on are seen by none
  uint32_t filling;     // of the ring, that the tile is
  uint32_t tile;        // how many tiles came before
  bool behind_queries;  // the filling before it was the piece's queries
  uint8_t moved[4];     // [warp of rows] a frame has moved
};
inline constexpr int32_t kPieceEnd = -1;

// What a loader asks for next.
struct LoadCursor {
  KvCursor tile;
  bool queries;  // of the tile's piece come before it
};

// In place of P behind the last tile of a piece.
struct PieceEnd {
  PieceInfo piece;
  float sum[kTileRows];  // of probabilities
  float frame[kTileRows];
};

// 64 rows of the last of the latent k steps, in the layout without swizzle of gpu/ptx/wgmma.cuh.
struct alignas(256) PlainStep {
  uint32_t pair[kTileRows * 16 / 2];
};

struct SharedStorage {
  // The latent columns of KV tiles, and before a piece's first of its queries (if q_by_tma).
  // Writers: TMA, scrubbing
  Box kv[kStages][kValueBoxes];
  Box kv_rotary;  // the rotary columns of one tile. Writer: TMA; reader: scores
  union Probabilities {
    Box p;         // of a tile. Writer: scores; readers: both halves of the output
    PieceEnd end;  // the same
  } prob[kProbSlots];
  Box q_rotary;                        // Writer and reader: scores
  PlainStep q_last;                    // the same
  float scale[kProbSlots][kTileRows];  // 2^(old frame - new frame), where a frame has moved
  Handover handover[kProbSlots];
  PieceInfo piece;             // of the score warpgroup
  BlockWork work;              // read only
  LoadCursor cursor[kHalves];  // of the half's loader
  KvPlace place[kStages];  // of the tiles asked for. Writer: the left half's loader, before kv_full
  // [half] number + 1 of the last piece in which scrubbing met values that are not finite
  uint32_t not_finite[kHalves];
  uint64_t kv_full[kStages][kHalves];   // arrivals: TMA's announcing thread
  uint64_t kv_empty[kStages][kHalves];  // arrivals: warps of the half; of queries: of the scores
  uint64_t rotary_full;                 // arrivals: TMA's announcing thread
  uint64_t rotary_empty;                // arrivals: warps of the scores
  uint64_t prob_empty[kProbSlots];      // arrivals: warps of both halves
};
// CUDA programming guide, compute capability 9.0: 227 KB of dynamic shared memory a thread block.
static_assert(sizeof(SharedStorage) <= 227 * 1024);

// Shared-window addresses of the plan's members.
struct SharedAddresses {
  uint32_t base;

  __device__ explicit SharedAddresses(const SharedStorage& storage)
      : base(ptx::shared_address(&storage)) {}
  __device__ explicit SharedAddresses(uint32_t address) : base(address) {}

  __device__ uint32_t kv() const { return base + offsetof(SharedStorage, kv); }
  __device__ uint32_t kv(int stage, int half) const {
    return kv() + static_cast<uint32_t>((stage * kValueBoxes + half * kHalfBoxes) * sizeof(Box));
  }
  __device__ uint32_t kv_rotary() const { return base + offsetof(SharedStorage, kv_rotary); }
  __device__ uint32_t p(int slot) const {
    return base + static_cast<uint32_t>(offsetof(SharedStorage, prob) + slot * sizeof(Box));
  }
  __device__ uint32_t q_rotary() const { return base + offsetof(SharedStorage, q_rotary); }
  __device__ uint32_t q_last() const { return base + offsetof(SharedStorage, q_last); }

  __device__ gpu::FullBarrier kv_full(int stage, int half) const {
    return {barrier(offsetof(SharedStorage, kv_full), stage * kHalves + half)};
  }
  __device__ gpu::EmptyBarrier kv_empty(int stage, int half) const {
    return {barrier(offsetof(SharedStorage, kv_empty), stage * kHalves + half)};
  }
  __device__ gpu::FullBarrier rotary_full() const {
    return {barrier(offsetof(SharedStorage, rotary_full), 0)};
  }
  __device__ gpu::EmptyBarrier rotary_empty() const {
    return {barrier(offsetof(SharedStorage, rotary_empty), 0)};
  }
  __device__ gpu::EmptyBarrier prob_empty(int slot) const {
    return {barrier(offsetof(SharedStorage, prob_empty), slot)};
  }

 private:
  __device__ uint32_t barrier(size_t first, int index) const {
    return base + static_cast<uint32_t>(first + index * sizeof(uint64_t));
  }
};

// By one thread, before any other uses them.
__device__ __forceinline__ void init_barriers(const SharedAddresses& shared) {
  constexpr int kWarpsPerWarpgroup = 4;
  for (int stage = 0; stage < kStages; ++stage) {
    for (int half = 0; half < kHalves; ++half) {
      shared.kv_full(stage, half).init(1);
      shared.kv_empty(stage, half).init(kWarpsPerWarpgroup);
    }
  }
  shared.rotary_full().init(1);
  shared.rotary_empty().init(kWarpsPerWarpgroup);
  for (int slot = 0; slot < kProbSlots; ++slot) {
    shared.prob_empty(slot).init(kHalves * kWarpsPerWarpgroup);
  }
  ptx::fence_mbarrier_init();
}

}  // namespace seesaw::dense_decode::sm90::three
