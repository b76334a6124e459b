// Who asks for KV tiles: one thread of each output warpgroup for the half that it multiplies, and
// of the rotary boxes the left one and the score warpgroup.
#pragma once

#include "gpu/ptx/tma.cuh"
#include "ops/dense_decode/sm90/three/smem.cuh"

namespace seesaw::dense_decode::sm90::three {

// Where TMA finds the queries of a piece.
struct QueryPlace {
  int32_t sequence, head, token;
};
__device__ __forceinline__ QueryPlace find_queries(const DenseDecodeParams& params,
                                                   const BlockWork& work, int32_t piece) {
  const split::Piece& its = params.pieces[work.piece_at(piece)];
  const int32_t row = row_tile_of(params, work, its.row_group) * kTileRows;
  const int32_t token = params.group.divide(row);
  return {
      its.sequence,
      work.kv_head * static_cast<int32_t>(params.group.value) + params.group.remainder(row, token),
      token};
}

// The rotary box of a tile whose latent columns have been asked for, and of the queries, if the
// tile is a piece's first. By one thread.
__device__ __forceinline__ void load_rotary(const DenseDecodeParams& params,
                                            const SharedAddresses& shared,
                                            const SharedStorage& storage, gpu::RingTurn<kStages> kv,
                                            gpu::Turn tile, int32_t piece_of_queries = -1) {
  const bool queries = params.q_by_tma && piece_of_queries >= 0;
  shared.rotary_empty().wait(tile);
  const KvPlace place = storage.place[kv.slot()];
  shared.rotary_full().expect((queries ? 2 : 1) * static_cast<int>(sizeof(Box)));
  if (queries) {
    const QueryPlace at = find_queries(params, storage.work, piece_of_queries);
    ptx::copy_box<ptx::kEvictNormal>(shared.q_rotary(), &params.q_rotary_map,
                                     shared.rotary_full().address,
                                     {0, at.head, at.token, 0, at.sequence});
  }
  ptx::copy_box<ptx::kEvictFirst>(shared.kv_rotary(), &params.kv_rotary_map,
                                  shared.rotary_full().address,
                                  {0, place.token, kValueBoxes, storage.work.kv_head, place.page});
}

// One half of the queries and of the KV tiles of every piece, in order, through the ring. Its
// cursor lies in shared memory: an output warpgroup has no registers to spare. One thread runs
// this.
template <typename Config>
struct HalfLoader {
  const DenseDecodeParams& params;
  const SharedAddresses& shared;
  SharedStorage& storage;
  int half;

  // The rotary boxes have one buffer each, so their copies are asked for when there is hardly time
  // for the way to memory. By the right half's thread: the left one's has the copies.
  __device__ __forceinline__ void prefetch_rotary(const LoadCursor& cursor) const {
    const KvPlace& place = cursor.tile.place;
    ptx::prefetch_box<ptx::kEvictFirst>(
        &params.kv_rotary_map, {0, place.token, kValueBoxes, storage.work.kv_head, place.page});
    if (!cursor.queries) return;
    const QueryPlace at = find_queries(params, storage.work, cursor.tile.index);
    ptx::prefetch_box<ptx::kEvictNormal>(&params.q_rotary_map,
                                         {0, at.head, at.token, 0, at.sequence});
  }

  // Finds what comes next, and brings a tile's rotary box to L2; false if nothing does.
  __device__ __forceinline__ bool find_next() const {
    LoadCursor& cursor = storage.cursor[half];
    if (cursor.queries) {
      cursor.queries = false;
      return true;
    }
    KvCursor tile = cursor.tile;
    const bool found = next_tile(params, storage.work, 0, 1, tile);
    cursor.queries = found && params.q_by_tma && tile.index != cursor.tile.index;
    cursor.tile = tile;
    if (Config::kHasRotaryBox && half == 1 && found) prefetch_rotary(cursor);
    return found;
  }

  // Asks for what find_next() has found, once the stage's last filling has been released.
  __device__ __forceinline__ void load(gpu::RingTurn<kStages> kv) const {
    const int stage = kv.slot();
    shared.kv_empty(stage, half).wait(kv.turn());
    const gpu::FullBarrier full = shared.kv_full(stage, half);
    full.expect(kHalfBoxes * static_cast<int>(sizeof(Box)));
    if (storage.cursor[half].queries) {
      const QueryPlace at = find_queries(params, storage.work, storage.cursor[half].tile.index);
      ptx::copy_box<ptx::kEvictNormal>(shared.kv(stage, half), &params.q_half_map, full.address,
                                       {0, at.head, at.token, half * kHalfBoxes, at.sequence});
      return;
    }
    const KvPlace place = storage.cursor[half].tile.place;
    if (half == 0) storage.place[stage] = place;
    ptx::copy_box<ptx::kEvictFirst>(
        shared.kv(stage, half), &params.kv_map, full.address,
        {0, place.token, half * kHalfBoxes, storage.work.kv_head, place.page});
  }

  // Fills the ring.
  __device__ __forceinline__ void start() const {
    storage.cursor[half] = {.tile = KvCursor(), .queries = false};
    const uint32_t first_tile = params.q_by_tma ? 1 : 0;
#pragma unroll 1
    for (gpu::RingTurn<kStages> kv; kv.number() < kStages && find_next(); kv.advance()) {
      load(kv);
      if (Config::kHasRotaryBox && half == 0 && kv.number() == first_tile) {
        load_rotary(params, shared, storage, kv, gpu::Turn(), storage.cursor[half].tile.index);
      }
    }
  }
};

}  // namespace seesaw::dense_decode::sm90::three
