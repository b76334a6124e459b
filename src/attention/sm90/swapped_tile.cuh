// Where a tile of a swapped consumer lies: in a buffer of its own warpgroup, or in a ring.
#pragma once

#include "attention/sm90/smem.cuh"

namespace seesaw::attention::sm90 {

// A tile as two halves of its columns, in the order in which they come, are scored and are let go:
// i = 0 is the half that its warpgroup owns of the output.
template <typename Config>
struct SwappedTile {
  const SharedAddresses<Config>& shared;
  int own;            // the warpgroup whose tile it is
  gpu::Turn filling;  // of the warpgroup's buffer; with a ring, number of the block's tile

  static constexpr uint32_t kHalfBytes = kHalfBoxes * sizeof(Box);
  static constexpr uint32_t kCopyBytes = kCopyBoxes * sizeof(Box);

  // Half i: four boxes.
  __device__ __forceinline__ uint32_t half(int i) const {
    const Place at = place(i);
    return shared.kv(at.slot) + static_cast<uint32_t>(at.half) * kHalfBytes;
  }
  __device__ __forceinline__ uint32_t rotary() const {
    if constexpr (Config::kRing) {
      return shared.kv(kRingHalves) + static_cast<uint32_t>(filling.slot() * sizeof(Box));
    } else {
      return shared.kv(own) + static_cast<uint32_t>(kValueBoxes * sizeof(Box));
    }
  }

  // Copy c of half i; the rotary box comes with the tile's last one.
  __device__ __forceinline__ void wait_until_full(int i, int c) const {
    full(i, c).wait_warp(arrival(i).turn);
  }
  __device__ __forceinline__ gpu::FullBarrier full(int i, int c) const {
    const Place at = arrival(i);
    return shared.kv_full(at.slot, at.half * kHalfCopies + c);
  }

  // By one thread.
  __device__ __forceinline__ void wait_for_room(int i) const { empty(i).wait(place(i).turn); }
  __device__ __forceinline__ void release(int i, int lane) const { empty(i).release(lane); }

 private:
  struct Place {
    int slot;
    int half;  // of the slot
    gpu::Turn turn;
  };
  __device__ __forceinline__ Place place(int i) const {
    if constexpr (Config::kRing) {
      return of_ring<kRingHalves>(i);
    } else {
      return {own, i ^ own, filling};
    }
  }
  // The barriers by which half i comes.
  __device__ __forceinline__ Place arrival(int i) const {
    if constexpr (Config::kRing) {
      return of_ring<2 * kRingHalves>(i);
    } else {
      return place(i);
    }
  }
  template <uint32_t kSlots>
  __device__ __forceinline__ Place of_ring(int i) const {
    const gpu::RingTurn<kSlots> at(2 * filling.number() + static_cast<uint32_t>(i));
    return {at.slot(), 0, at.turn()};
  }
  __device__ __forceinline__ gpu::EmptyBarrier empty(int i) const {
    const Place at = place(i);
    return shared.kv_empty(at.slot, at.half);
  }
};

}  // namespace seesaw::attention::sm90
