// The plan of shared memory, and the barriers.
#pragma once

#include <type_traits>

#include "attention/device/work.cuh"
#include "attention/sm90/config.hpp"
#include "gpu/pipeline.cuh"
#include "gpu/ptx/shared_memory.cuh"
#include "gpu/sm90/facts.cuh"

namespace seesaw::attention::sm90 {

// Both warpgroups are at the piece and have its queries. (The mbarriers are ready for everybody
// behind the block's first barrier.)
inline constexpr NamedBarrier kQueriesReady = kBarriersReady;
// The warps of warpgroup left, or right, have scored a tile, or looked whether the next one is
// there.
inline constexpr NamedBarrier kLeftTogether = kFrame0Ready, kRightTogether = kFrame1Ready;

// Where a producer warp is among the tiles of its buffer.
struct TileCursor {
  const int32_t* ids;  // of the item
  int32_t k;           // of the block's pieces
  int32_t tile;
  int32_t tile_end;
  int32_t run_end;  // of the tiles that have the same item and stream
  int32_t token;    // of the stream: the tile's first
  int32_t length;   // of the stream
  int32_t stream;   // kNoStream: behind the last tile
};

// What tiles come through, from the producers to the consumers: two buffers, each of a tile.
template <typename Config>
struct TileStorage {
  static constexpr int kSlots = kBuffers, kSlotBoxes = Config::kQkBoxes, kSlotHalves = kHalves;
  static constexpr int kFullSlots = kSlots;
  static constexpr int kFullArrivals = kBufferWarps;

  // Two KV tiles, one box a 64-column slice. Writers: the producer warps, and scrub_values.
  // Readers: the consumers. In the seesaw the rotary box becomes the tile's P once its scores are
  // done.
  Box kv[2][Config::kQkBoxes];
  uint16_t valid[kBuffers][kBufferWarps];  // tokens of a warp's share that exist, a bit each
  BlockWork work;
  TileCursor cursor[kBuffers][kBufferWarps];
  uint32_t scales[kBuffers][2][kTileTokens][kScaleWords];  // [turn's slot], as records have them
  uint64_t kv_full[2][Config::kKvCopies];  // [buffer][copy]; arrivals: the buffer's producer warps
  // [buffer][half: 0: boxes 0-3, 1: boxes 4-7]; arrivals: warps of the consumer that reads it last.
  // The rotary box goes with the half that is released after the tile's P has been read.
  uint64_t kv_empty[2][2];
};

// The same where TMA brings them: a ring of halves of tiles, four boxes each.
template <typename Config>
struct RingStorage {
  static constexpr int kSlots = kRingHalves, kSlotBoxes = kHalfBoxes, kSlotHalves = 1;
  static constexpr int kFullSlots = 2 * kSlots;
  static constexpr int kFullArrivals = 1;
  static constexpr int kValueSlotBoxes = kSlots * kSlotBoxes;
  static constexpr int kRotaryBoxes = Config::kHasRotaryBox ? 2 : 0;

  // Writers: the loader (TMA), and scrub_boxes. Readers: the warpgroup whose tile it is. Behind the
  // halves the rotary boxes, of two tiles in turn: one is filled together with the last half of its
  // tile, for which the loader has waited until the first half of the tile before the last was let
  // go, whose scores are then done. So it needs no barriers of its own.
  Box kv[kValueSlotBoxes + kRotaryBoxes];
  BlockWork work;
  // [slot, of even and then of odd fillings][copy]; arrivals: the loader. Two for a slot: an
  // mbarrier tells its phases by parity alone, so nobody may wait for one before the one before it
  // is over, and a slot's filling before may be the other warpgroup's, late (notebook 0090).
  uint64_t kv_full[kFullSlots][kHalfCopies];
  uint64_t kv_empty[kSlots][1];  // arrivals: warps of the warpgroup whose tile it is
};

// A consumer's pieces, of whichever kind it is.
struct PieceStorage {
  PieceWork piece[2];  // [slot of the piece's turn]
  // [slot of the piece's turn][warpgroup] number + 1 of the last piece in whose masked tiles the
  // warpgroup has met values that are not finite, see scrub_values
  uint32_t not_finite[2][2];
};

// A box of so many rows, row-major, 128-byte swizzle.
template <int kRows>
struct alignas(1024) RowBox {
  uint16_t element[kRows][kBoxColumns];
};

template <typename Config>
struct SeesawStorage {
  // Q tile, row-major boxes, of one piece. Writers and readers: the consumers.
  Box q[Config::kQkBoxes];
  TileStorage<Config> tiles;
  PieceStorage pieces;
  float frame[kTileRows];     // running maximum, log2 units; see gpu/online_softmax.cuh
  float scale[2][kTileRows];  // 2^(old frame - new frame) of tile 0 and of tile 1
  float sum[2][kTileRows];    // [warpgroup] of probabilities, at the end of a piece
  float top[2][kTileRows];    // [warpgroup] largest score in the piece, where somebody asks for it
  bool landed[2];             // [warpgroup] its next tile, when it looked
};

// Where the operands are swapped (swapped_consumer.cuh): [warpgroup] first.
template <typename Config>
struct SwappedStorage {
  static constexpr int kRows = Config::kTileRows;
  static constexpr int kPartFloats = kBoxColumns * kRows;  // of the output: 64 columns

  RowBox<kRows> q[Config::kQkBoxes];  // as the seesaw's
  std::conditional_t<Config::kRing, RingStorage<Config>, TileStorage<Config>> tiles;
  RowBox<kRows> p[2];         // probabilities: [row][token of the tile]. Its own warpgroup's alone
  float maxima[2][4][kRows];  // [warp] largest score of a tile; at the end magnitude of the output
  float frame[2][kRows];      // at the end of a piece
  float sum[2][4][kRows];     // [warp] at the end of a piece
  float top[2][kRows];        // as the seesaw's
  // Accumulators for the other warpgroup: parts of its half of the output, 16 bytes a thread at a
  // time.
  float4 exchange[2][Config::kExchangeParts * kPartFloats / 4];
  PieceStorage pieces;
};

template <typename Config>
using SharedStorage =
    std::conditional_t<Config::kSwapped, SwappedStorage<Config>, SeesawStorage<Config>>;

// The seesaw's P has boxes of its own behind the rest where there is no rotary box.
template <typename Config>
inline constexpr size_t kSharedBytes = sizeof(SharedStorage<Config>) +
                                       (Config::kSwapped || Config::kHasRotaryBox
                                            ? 0
                                            : 2 * sizeof(Box));

// The half of a tile that its rotary box is released with: of tile 0 the right warpgroup reads P
// last, of tile 1 the left one.
__device__ __forceinline__ int rotary_half(int buffer) { return 1 - buffer; }

// Shared-window addresses of the plan's members.
template <typename Config>
struct SharedAddresses {
  using Storage = SharedStorage<Config>;
  using Tiles = decltype(Storage::tiles);
  uint32_t base;

  __device__ explicit SharedAddresses(const Storage& storage)
      : base(ptx::shared_address(&storage)) {}

  __device__ uint32_t q() const { return base + offsetof(Storage, q); }
  // A buffer, or a slot of the ring.
  __device__ uint32_t kv(int slot) const {
    return tiles() +
           static_cast<uint32_t>(offsetof(Tiles, kv) + slot * Tiles::kSlotBoxes * sizeof(Box));
  }
  // P of a tile, or of a warpgroup whose tiles go to its own buffer.
  __device__ uint32_t p(int tile) const {
    if constexpr (Config::kSwapped) {
      return base + offsetof(Storage, p) + tile * sizeof(Storage::p[0]);
    } else if constexpr (Config::kHasRotaryBox) {
      return kv(tile) + kValueBoxes * sizeof(Box);
    } else {
      return base + sizeof(Storage) + tile * sizeof(Box);
    }
  }
  __device__ gpu::FullBarrier kv_full(int slot, int copy) const {
    return {barrier(offsetof(Tiles, kv_full), slot * kSlotCopies + copy)};
  }
  __device__ gpu::EmptyBarrier kv_empty(int slot, int half) const {
    return {barrier(offsetof(Tiles, kv_empty), slot * Tiles::kSlotHalves + half)};
  }

  static constexpr int kSlotCopies = Tiles::kSlotHalves * kHalfCopies;

 private:
  __device__ uint32_t tiles() const { return base + offsetof(Storage, tiles); }
  __device__ uint32_t barrier(size_t first, int index) const {
    return tiles() + static_cast<uint32_t>(first + index * sizeof(uint64_t));
  }
};

// By one thread, before any other uses them.
template <typename Config>
__device__ __forceinline__ void init_barriers(const SharedAddresses<Config>& shared) {
  using Tiles = typename SharedAddresses<Config>::Tiles;
  for (int slot = 0; slot < Tiles::kFullSlots; ++slot) {
    for (int copy = 0; copy < SharedAddresses<Config>::kSlotCopies; ++copy) {
      shared.kv_full(slot, copy).init(Tiles::kFullArrivals);
    }
  }
  for (int slot = 0; slot < Tiles::kSlots; ++slot) {
    for (int half = 0; half < Tiles::kSlotHalves; ++half) {
      shared.kv_empty(slot, half).init(kWarpgroupThreads / 32);
    }
  }
  ptx::fence_mbarrier_init();
}

}  // namespace seesaw::attention::sm90
