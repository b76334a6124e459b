// Who asks for KV tiles: one thread of each output warpgroup for the half that it multiplies, and
// of the rotary boxes the left one and the score warpgroup.
#pragma once

#include "gpu/ptx/tma.cuh"
#include "ops/dense_decode/sm90/three/smem.cuh"

namespace seesaw::dense_decode::sm90::three {

// The rotary box of a tile whose latent columns have been asked for. By one thread.
__device__ __forceinline__ void load_rotary(const DenseDecodeParams& params,
                                            const SharedAddresses& shared,
                                            const SharedStorage& storage,
                                            gpu::RingTurn<kStages> kv) {
  shared.rotary_empty().wait(gpu::Turn(kv.number()));
  const KvPlace place = storage.place[kv.slot()];
  shared.rotary_full().expect(sizeof(Box));
  ptx::copy_box<ptx::kEvictFirst>(shared.kv_rotary(), &params.kv_rotary_map,
                                  shared.rotary_full().address,
                                  {0, place.token, kValueBoxes, storage.work.kv_head, place.page});
}

// One half of the KV tiles of every piece, in order, through the ring. Its cursor lies in shared
// memory: an output warpgroup has no registers to spare. One thread runs this.
template <typename Config>
struct HalfLoader {
  const DenseDecodeParams& params;
  const SharedAddresses& shared;
  SharedStorage& storage;
  int half;

  // Finds the next tile; false if there is none.
  __device__ __forceinline__ bool find_next() const {
    KvCursor cursor = storage.cursor[half];
    const bool found = next_tile(params, storage.work, 0, 1, cursor);
    storage.cursor[half] = cursor;
    return found;
  }

  // Asks for the tile that find_next() has found, once the stage's last one has been released.
  __device__ __forceinline__ void load(gpu::RingTurn<kStages> kv) const {
    const int stage = kv.slot();
    shared.kv_empty(stage, half).wait(kv.turn());
    const KvPlace place = storage.cursor[half].place;
    if (half == 0) storage.place[stage] = place;
    const gpu::FullBarrier full = shared.kv_full(stage, half);
    full.expect(kHalfBoxes * static_cast<int>(sizeof(Box)));
    ptx::copy_box<ptx::kEvictFirst>(
        shared.kv(stage, half), &params.kv_map, full.address,
        {0, place.token, half * kHalfBoxes, storage.work.kv_head, place.page});
  }

  // Fills the ring.
  __device__ __forceinline__ void start() const {
    storage.cursor[half] = KvCursor();
#pragma unroll 1
    for (gpu::RingTurn<kStages> kv; kv.number() < kStages && find_next(); kv.advance()) {
      load(kv);
      if (Config::kHasRotaryBox && half == 0 && kv.number() == 0) {
        load_rotary(params, shared, storage, kv);
      }
    }
  }
};

}  // namespace seesaw::dense_decode::sm90::three
