// The loader of a ring: one thread streams the halves of tiles through TMA, from a cache whose
// pages are whole tiles.
#pragma once

#include "attention/device/record.cuh"
#include "attention/sm90/swapped_tile.cuh"
#include "gpu/ptx/tma.cuh"

namespace seesaw::attention::sm90 {

template <typename Config>
struct BoxLoader {
  const RingParams& params;
  const SharedAddresses<Config>& shared;
  BlockWork work;

  // A page of a sequence, looked up.
  struct Page {
    int32_t entry;  // of the block table
    int32_t id;
  };

  // All tiles of all pieces, in order; the next piece's beside the end of the one before.
  __device__ __forceinline__ void run() const {
    uint32_t number = 0;  // of the block's tiles
#pragma unroll 1
    for (int32_t k = 0; k < work.num_pieces; ++k) {
      const split::Piece& planned = params.pieces[work.piece_at(k)];
      const int32_t* ids = stream().ids + planned.sequence * stream().ids_stride_sequence;
      // The first tile's page is looked up beside the length, not behind it: the schedule vouches
      // for the entry. (With a window, tiles may begin elsewhere.)
      Page page = {0, 0};
      if (planned.tile_begin < planned.tile_end) page = find(ids, planned.tile_begin * kTileTokens);
      const PieceWork piece = read_piece<Config>(params, work, k);
#pragma unroll 1
      for (int32_t tile = piece.tile_begin; tile < piece.tile_end; ++tile, ++number) {
        const int32_t token = piece.item.origin + tile * kTileTokens;
        if (stream().page_size.divide(token) != page.entry) page = find(ids, token);
        const int own = (tile - piece.tile_begin) & 1;
        load({shared, own, gpu::Turn(number)}, page.id,
             stream().page_size.remainder(token, page.entry));
      }
    }
  }

 private:
  __device__ __forceinline__ const StreamParams& stream() const { return params.streams[0]; }

  __device__ __forceinline__ Page find(const int32_t* ids, int32_t token) const {
    const int32_t entry = stream().page_size.divide(token);
    return {entry, ids[entry]};
  }

  // A tile, half by half, when there is room.
  __device__ __forceinline__ void load(const SwappedTile<Config>& tile, int32_t page,
                                       int32_t token) const {
#pragma unroll
    for (int i = 0; i < kHalves; ++i) {
      tile.wait_for_room(i);
#pragma unroll
      for (int c = 0; c < kHalfCopies; ++c) {
        const bool with_rotary = Config::kHasRotaryBox && i == kHalves - 1 && c == kHalfCopies - 1;
        const uint32_t full = tile.full(i, c).address;
        const int box = (i ^ tile.own) * kHalfBoxes + c * kCopyBoxes;
        gpu::FullBarrier{full}.expect((kCopyBoxes + (with_rotary ? 1 : 0)) *
                                      static_cast<int>(sizeof(Box)));
        ptx::copy_box<ptx::kEvictFirst>(tile.half(i) + c * SwappedTile<Config>::kCopyBytes,
                                        &params.kv_map, full,
                                        {0, token, box, block_kv_head(), page});
        if (with_rotary) {
          ptx::copy_box<ptx::kEvictFirst>(tile.rotary(), &params.kv_rotary_map, full,
                                          {0, token, kValueBoxes, block_kv_head(), page});
        }
      }
    }
  }
};

}  // namespace seesaw::attention::sm90
